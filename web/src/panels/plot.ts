// uPlot as this page uses it: colours from the theme, as large as its place, rebuilt when the theme changes.
import uPlot from "uplot";
import "uplot/dist/uPlot.min.css";
import { palette, whenThemeChanges } from "../theme.ts";

/** The line of names and values under a plot. */
const LEGEND_PX = 24;

export type Options = Omit<uPlot.Options, "width" | "height">;

/** Axes of one look. Functions, so that a theme change needs only a redraw. */
export function axis(more: uPlot.Axis = {}): uPlot.Axis {
  const grid = { stroke: () => palette.line, width: 1, ...more.grid };
  return {
    stroke: () => palette.muted,
    font: `11px ${palette.font}`,
    size: 44,
    gap: 4,
    ticks: { show: false },
    ...more,
    grid,
  };
}

/** A dashed horizontal line with its name at the right, in the units of scale y. */
export function threshold(u: uPlot, value: number, label: string, colour: string): void {
  const y = Math.round(u.valToPos(value, "y", true)) + 0.5;
  const { left, width, top } = u.bbox;
  if (y < top) return;
  const { ctx } = u;
  ctx.save();
  ctx.strokeStyle = colour;
  ctx.lineWidth = devicePixelRatio;
  ctx.setLineDash([4 * devicePixelRatio, 4 * devicePixelRatio]);
  ctx.beginPath();
  ctx.moveTo(left, y);
  ctx.lineTo(left + width, y);
  ctx.stroke();
  ctx.font = `${10 * devicePixelRatio}px ${palette.font}`;
  ctx.textAlign = "left";
  ctx.textBaseline = "middle";
  const pad = 3 * devicePixelRatio;
  const wide = ctx.measureText(label).width + 2 * pad;
  ctx.fillStyle = palette.panel;
  ctx.fillRect(left + 2 * pad, y - 6 * devicePixelRatio, wide, 12 * devicePixelRatio);
  ctx.fillStyle = colour;
  ctx.fillText(label, left + 3 * pad, y);
  ctx.restore();
}

export class Plot {
  readonly #place: HTMLElement;
  readonly #options: () => Options;
  #plot: uPlot;

  constructor(place: HTMLElement, options: () => Options) {
    this.#place = place;
    this.#options = options;
    this.#plot = this.#build([[]]);
    new ResizeObserver(() => this.#plot.setSize(this.#size())).observe(place);
    whenThemeChanges(() => {
      const { data } = this.#plot;
      this.#plot.destroy();
      this.#plot = this.#build(data);
    });
  }

  set(data: uPlot.AlignedData): void {
    this.#plot.setData(data);
    // Without a pointer on it, the line below names the newest values.
    if (this.#plot.cursor.idx === null || this.#plot.cursor.idx === undefined) this.#plot.setLegend({ idx: data[0].length - 1 });
  }

  #build(data: uPlot.AlignedData): uPlot {
    return new uPlot({ ...this.#options(), ...this.#size() }, data, this.#place);
  }

  #size(): { width: number; height: number } {
    const below = this.#options().legend?.show === true ? LEGEND_PX : 0;
    return { width: Math.max(80, this.#place.clientWidth), height: Math.max(80, this.#place.clientHeight - 4 - below) };
  }
}
