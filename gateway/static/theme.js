// Runs before the page is drawn, so that a chosen theme does not flash. Not a module: those run later.
(function () {
  let theme = null;
  try {
    theme = localStorage.getItem("theme");
  } catch (error) {
    if (!(error instanceof DOMException)) throw error; // storage is switched off: the system's theme holds
  }
  if (theme === "light" || theme === "dark") document.documentElement.dataset.theme = theme;
})();
