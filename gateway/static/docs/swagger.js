// Starts Swagger UI; a file of its own because the page allows no script inside its HTML.
const token = document.querySelector('meta[name="csrf-token"]');

window.ui = window.SwaggerUIBundle({
  url: "/openapi.json",
  dom_id: "#swagger-ui",
  deepLinking: true,
  displayRequestDuration: true,
  tryItOutEnabled: true,
  // The validator badge would be an image of another host.
  validatorUrl: null,
  // Of a browser that has signed in by its cookie; other credentials come by Authorize.
  requestInterceptor: (request) => {
    if (token) request.headers["X-CSRF-Token"] = token.content;
    return request;
  },
});
