// A row that is a square of numbers, as a picture: paper where it is 0, ink where it is high.

import { el } from "./dom.js";

const FULL_INK = [1, 16, 255];

export function picture(values, description) {
  const side = Math.sqrt(values.length);
  const canvas = el("canvas", { class: "picture", width: side, height: side, role: "img", "aria-label": description });
  const context = canvas.getContext("2d");
  const image = context.createImageData(side, side);
  const high = Math.max(...values);
  const full = FULL_INK.find((ink) => ink >= high) ?? high;
  values.forEach((value, at) => {
    image.data[at * 4 + 3] = 255 * Math.min(1, Math.max(0, value / full)); // black ink, as opaque as it is strong
  });
  context.putImageData(image, 0, 0);
  return canvas;
}
