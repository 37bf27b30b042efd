// Builds the two pages into dist/, with every licence of what is bundled beside them. Nothing is loaded from elsewhere at run time.
import { readFileSync } from "node:fs";
import { defineConfig, type Plugin } from "vite";

/** What ends in the bundle, and where its licence stands. */
const BUNDLED: ReadonlyArray<readonly [name: string, files: readonly string[]]> = [
  ["lightweight-charts", ["LICENSE"]],
  ["uplot", ["LICENSE"]],
  ["swagger-ui-dist", ["LICENSE", "NOTICE"]],
  ["@fontsource-variable/inter", ["LICENSE"]],
];

const GATEWAY = process.env["GATEWAY"] ?? "http://127.0.0.1:8001";

function licences(): Plugin {
  return {
    name: "licences",
    apply: "build",
    generateBundle() {
      const texts = BUNDLED.map(([name, files]) => {
        const folder = new URL(`./node_modules/${name}/`, import.meta.url);
        const { version } = JSON.parse(readFileSync(new URL("package.json", folder), "utf8")) as { version: string };
        const text = files.map((file) => readFileSync(new URL(file, folder), "utf8").trim()).join("\n\n");
        return `${name} ${version}\n${"=".repeat(72)}\n\n${text}\n`;
      });
      this.emitFile({ type: "asset", fileName: "licences.txt", source: texts.join("\n\n") });
    },
  };
}

export default defineConfig({
  plugins: [licences()],
  // `npm run dev` shows a running platform.
  server: {
    proxy: {
      ...Object.fromEntries(["/api", "/v1", "/openapi.json"].map((path) => [path, GATEWAY])),
      "/ws": { target: GATEWAY, ws: true },
    },
  },
  build: {
    // The policy of the page is default-src 'self': nothing may become a data: address or an inline script.
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
    target: "es2022",
    // The API reference is one large bundle that only its own page loads.
    chunkSizeWarningLimit: 2000,
    rollupOptions: { input: { index: "index.html", reference: "reference.html" } },
  },
});
