// Starts Swagger UI; a file of its own because the page allows no script inside its HTML.
window.ui = window.SwaggerUIBundle({
  url: "/openapi.json",
  dom_id: "#swagger-ui",
  deepLinking: true,
  displayRequestDuration: true,
  tryItOutEnabled: true,
  // The validator badge would be an image of another host.
  validatorUrl: null,
});
