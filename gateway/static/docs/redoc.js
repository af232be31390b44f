// Starts ReDoc; a file of its own because the page allows no script inside its HTML.
window.Redoc.init("/openapi.json", { hideDownloadButton: false }, document.getElementById("redoc"));
