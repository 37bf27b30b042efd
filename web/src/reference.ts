// The browsable API reference: Swagger UI over the platform's own OpenAPI document, with the page's access key.
import "swagger-ui-dist/swagger-ui.css";
import "./reference.css";
import SwaggerUI from "swagger-ui-dist/swagger-ui-es-bundle.js";
import { accessKey } from "./api.ts";

interface Request {
  headers: Record<string, string>;
}

SwaggerUI({
  url: "/openapi.json",
  dom_id: "#reference",
  deepLinking: true,
  docExpansion: "list",
  defaultModelsExpandDepth: 0,
  tagsSorter: "alpha",
  operationsSorter: "alpha",
  requestInterceptor: (request: Request): Request => {
    const key = accessKey();
    if (key !== null) request.headers["authorization"] ??= `Bearer ${key}`;
    return request;
  },
});
