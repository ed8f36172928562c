// Vertical cup-to-disc ratio and the fovea's place: a port of dr_edge/metrics/glaucoma.py and of how answer.py calls it.

import {regions} from './fundus/outline.js';

const THRESHOLD = 0.5; // of a mask's probability
const NEAR = 0.03; // of the side: a point's heat is looked at this far around its peak
const MOST_PIXELS = 4_000_000; // larger masks are counted on every second, third ... pixel of the photograph

/**
 * Returns how high the largest part of a structure is in the photograph, in pixels; 0 where it was not found.
 * @param {Float32Array} mask probabilities of one structure in the crop, side * side
 * @param {number} side of the crop in pixels
 * @param {number[]} box of the crop in the photograph: top, left, bottom, right
 * @param {{width: number, height: number}} photograph its size in pixels
 */
export function heightInPhotograph(mask, side, box, photograph) {
  const [top, left, bottom, right] = box;
  const bounds = boundsOf(mask, side);
  if (bounds === null) return 0;
  const perX = (right - left) / side;
  const perY = (bottom - top) / side;
  // One pixel of the crop more to each side: interpolation carries the outline at most that far.
  const firstX = Math.max(0, Math.floor(left + (bounds.left - 0.5) * perX));
  const lastX = Math.min(photograph.width - 1, Math.ceil(left + (bounds.right + 1.5) * perX));
  const firstY = Math.max(0, Math.floor(top + (bounds.top - 0.5) * perY));
  const lastY = Math.min(photograph.height - 1, Math.ceil(top + (bounds.bottom + 1.5) * perY));
  if (lastX < firstX || lastY < firstY) return 0;
  const step = Math.max(1, Math.ceil(Math.sqrt(((lastX - firstX + 1) * (lastY - firstY + 1)) / MOST_PIXELS)));
  const width = Math.floor((lastX - firstX) / step) + 1;
  const height = Math.floor((lastY - firstY) / step) + 1;
  const carried = new Uint8Array(width * height);
  for (let j = 0; j < height; j++) {
    const v = (firstY + j * step + 0.5 - top) / perY - 0.5;
    for (let i = 0; i < width; i++) {
      const u = (firstX + i * step + 0.5 - left) / perX - 0.5;
      carried[j * width + i] = between(mask, side, u, v) >= THRESHOLD ? 1 : 0;
    }
  }
  return rowsOfLargest(carried, width, height) * step;
}

/**
 * Returns the point that a heat map marks, in pixels of the photograph; the centre of its first pixel is (0, 0).
 * @param {Float32Array} heat 0..1, side * side
 * @param {number} side of the crop in pixels
 * @param {number[]} box of the crop in the photograph: top, left, bottom, right
 * @param {{width: number, height: number}} photograph its size in pixels
 * @returns {{found: boolean, x: number, y: number, peak: number}} found: it lies in the photograph
 */
export function pointInPhotograph(heat, side, box, photograph) {
  const [top, left, bottom, right] = box;
  let hottest = 0;
  for (let i = 1; i < heat.length; i++) if (heat[i] > heat[hottest]) hottest = i;
  const [column, row, peak] = [hottest % side, Math.floor(hottest / side), heat[hottest]];
  const reach = Math.max(1, NEAR * side);
  let [sum, sumX, sumY] = [0, 0, 0];
  for (let i = 0; i < heat.length; i++) {
    const [x, y] = [i % side, Math.floor(i / side)];
    // Above half of the peak only: a flat background would pull the centroid away from a peak near the border.
    if (Math.hypot(x - column, y - row) > reach || heat[i] <= peak / 2) continue;
    const weight = heat[i] - peak / 2;
    [sum, sumX, sumY] = [sum + weight, sumX + weight * x, sumY + weight * y];
  }
  const [x, y] = sum === 0 ? [column, row] : [sumX / sum, sumY / sum];
  const tenth = (value) => Math.round(10 * value) / 10;
  const placeX = tenth(((x + 0.5) * (right - left)) / side + left - 0.5);
  const placeY = tenth(((y + 0.5) * (bottom - top)) / side + top - 0.5);
  const within = (value, length) => value >= -0.5 && value < length - 0.5;
  const found = within(placeX, photograph.width) && within(placeY, photograph.height);
  return {found, x: placeX, y: placeY, peak};
}

/** Reads a mask between its pixels, linearly; 0 outside. */
function between(mask, side, u, v) {
  const [x, y] = [Math.floor(u), Math.floor(v)];
  const at = (i, j) => (i < 0 || j < 0 || i >= side || j >= side ? 0 : mask[j * side + i]);
  const above = at(x, y) * (1 - u + x) + at(x + 1, y) * (u - x);
  const below = at(x, y + 1) * (1 - u + x) + at(x + 1, y + 1) * (u - x);
  return above * (1 - v + y) + below * (v - y);
}

function boundsOf(mask, side) {
  let found = null;
  for (let i = 0; i < mask.length; i++) {
    if (mask[i] < THRESHOLD) continue;
    const x = i % side;
    const y = Math.floor(i / side);
    found ??= {left: x, right: x, top: y, bottom: y};
    found.left = Math.min(found.left, x);
    found.right = Math.max(found.right, x);
    found.bottom = y;
  }
  return found;
}

/** Returns how many rows the largest region of a mask spans; 0 where it is empty. */
function rowsOfLargest(mask, width, height) {
  const {labels, first} = regions(mask, width, height);
  const areas = new Uint32Array(first.length + 1);
  for (const label of labels) areas[label]++;
  let largest = 0;
  for (let label = 1; label < areas.length; label++)
    if (largest === 0 || areas[label] > areas[largest]) largest = label;
  if (largest === 0) return 0;
  const rowHas = (y) => labels.subarray(y * width, (y + 1) * width).includes(largest);
  let top = 0;
  let bottom = height - 1;
  while (!rowHas(top)) top++;
  while (!rowHas(bottom)) bottom--;
  return bottom - top + 1;
}
