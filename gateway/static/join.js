// The invitation stands behind the #, which browsers send to no server: it goes into the form, and out of the address.
(function () {
  const token = decodeURIComponent(location.hash.slice(1));
  if (!token) return;
  document.getElementById("invitation").value = token;
  history.replaceState(null, "", location.pathname);
})();
