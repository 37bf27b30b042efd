// A real Chromium on the page, and what it said: console errors, exceptions, requests to elsewhere.
import { accessSync, constants } from "node:fs";
import { delimiter, join } from "node:path";
import { chromium, type Browser, type Page } from "playwright-core";

export function chromiumPath(): string {
  const named = process.env["CHROMIUM"];
  if (named !== undefined && named !== "") return named;
  const names = ["chromium", "chromium-browser", "google-chrome"];
  for (const folder of (process.env["PATH"] ?? "").split(delimiter)) {
    for (const path of names.map((name) => join(folder, name))) {
      try {
        accessSync(path, constants.X_OK);
        return path;
      } catch {
        // Not here.
      }
    }
  }
  throw new Error("no Chromium on the PATH: install Debian's `chromium` or set CHROMIUM to one");
}

/** Everything that went wrong on a page since it was opened, but for what a test provokes on purpose. */
export class Watch {
  readonly findings: string[] = [];
  #tolerated: RegExp | null = null;

  constructor(page: Page, origin: string) {
    page.on("console", (message) => {
      if (message.type() !== "error" && message.type() !== "warning") return;
      const text = `${message.text()} (${message.location().url})`;
      if (this.#tolerated?.test(text) !== true) this.findings.push(`console: ${text}`);
    });
    page.on("pageerror", (error) => this.findings.push(`exception: ${error.stack ?? error.message}`));
    page.on("request", (request) => {
      const url = request.url();
      if (!url.startsWith(origin) && !url.startsWith("data:") && !url.startsWith("blob:")) this.findings.push(`request to ${url}`);
    });
  }

  /** While `action` runs, console lines like these are its purpose. */
  async tolerating<T>(lines: RegExp, action: () => Promise<T>): Promise<T> {
    this.#tolerated = lines;
    try {
      return await action();
    } finally {
      this.#tolerated = null;
    }
  }
}

export async function launch(): Promise<Browser> {
  // No sandbox: tests also run as root in containers. The page is our own.
  return chromium.launch({ executablePath: chromiumPath(), args: ["--no-sandbox"] });
}

/** Elements whose own text is hard to read: below 4.5 to 1 (WCAG AA) against the colour behind it. */
export async function faintTexts(page: Page): Promise<string[]> {
  return page.evaluate(() => {
    const channels = (text: string): number[] => (text.match(/[\d.]+/g) ?? []).map(Number);
    const luminance = ([r = 0, g = 0, b = 0]: number[]): number => {
      const [lr = 0, lg = 0, lb = 0] = [r, g, b].map((value) => {
        const share = value / 255;
        return share <= 0.04045 ? share / 12.92 : ((share + 0.055) / 1.055) ** 2.4;
      });
      return 0.2126 * lr + 0.7152 * lg + 0.0722 * lb;
    };
    const behind = (element: Element): number[] => {
      for (let each: Element | null = element; each !== null; each = each.parentElement) {
        const colour = channels(getComputedStyle(each).backgroundColor);
        if (colour.length === 3 || (colour[3] ?? 0) === 1) return colour;
      }
      return [255, 255, 255];
    };
    const found: string[] = [];
    for (const element of document.querySelectorAll("body *")) {
      const own = [...element.childNodes].some((node) => node.nodeType === Node.TEXT_NODE && (node.textContent ?? "").trim() !== "");
      if (!own || element.closest(".unseen, [hidden], noscript, dialog:not([open])") !== null) continue;
      if (element.getClientRects().length === 0) continue;
      const [light = 0, dark = 0] = [luminance(channels(getComputedStyle(element).color)), luminance(behind(element))].sort((a, b) => b - a);
      const ratio = (light + 0.05) / (dark + 0.05);
      if (ratio >= 4.5) continue;
      const said = (element.textContent ?? "").slice(0, 30);
      found.push(`${element.tagName.toLowerCase()}.${element.className} "${said}" ${ratio.toFixed(2)}`);
    }
    return [...new Set(found)];
  });
}
