// Says whether what was found can be a retina: a port of dr_edge/fundus/gradability.py.

import {boxBlur5, dilate, gaussianBlur} from './filters.js';
import {convexHull, outlines} from './outline.js';
import {brightest, count, grey, histogram, percentile, roundHalfEven} from './picture.js';

const DARK_MEDIAN = 20; // grey levels of the brightest channel
const DARK_BRIGHT = 36;
const RETINA_COLOUR = 0.7; // fraction of the picture
const DARK_AROUND = 25; // grey levels, or against the fundus itself:
const DARK_AGAINST = 0.22;
const LEAST_SEEN = 0.6; // of the disc
const [LONGEST, LONGEST_WITHOUT_RIM] = [1.85, 1.52];
const LEAST_FILLED = 0.56; // of the circle over the longest line through what is lit, without a rim
const FAINT = 8; // grey levels
const BLANK = 0.004; // standard deviation of detail / local brightness

/** The picture shows no fundus that could be graded. `reason`: as in gradability.py. */
export class NotFundusError extends Error {
  constructor(reason, detail) {
    super(`${reason}: ${detail}`);
    this.name = 'NotFundusError';
    this.reason = reason;
  }
}

/**
 * Throws NotFundusError unless the lit region can be a fundus.
 * @param {{data: Uint8Array, width: number, height: number}} small RGB
 * @param {import('./circle_fit.js').Rim | null} rim
 * @param {Uint8Array} region 1 where lit
 */
export function checkFundus(small, rim, region) {
  if (!region.some((lit) => lit)) throw new NotFundusError('too dark', "nothing is lit above the border's brightness.");
  const brightness = brightest(small);
  const levels = histogram(brightness, 2, region);
  const median = percentile(levels, 50);
  const bright = percentile(levels, 90);
  if (median < DARK_MEDIAN && bright < DARK_BRIGHT) {
    throw new NotFundusError(
      'too dark',
      `brightness ${median.toFixed(0)} (median) and ${bright.toFixed(0)} (90th percentile) of 255.`,
    );
  }
  checkSurroundings(brightness, rim, region, median);
  if (rim !== null && rim.support + rim.explained > 1.2) return;
  const like = retinaLike(small, region);
  if (like < RETINA_COLOUR) {
    throw new NotFundusError(
      'no field of view',
      `no clear disc, and ${(100 * like).toFixed(0)} % of the picture has a retina's colour.`,
    );
  }
  const structure = detail(small, region);
  if (structure < BLANK)
    throw new NotFundusError('blank', `no disc and no structure (detail ${structure.toFixed(4)}).`);
}

/** Returns the fraction of the region that has a retina's colour. */
function retinaLike(small, region) {
  const {data} = boxBlur5(small, 3);
  let total = 0;
  let like = 0;
  for (let i = 0; i < region.length; i++) {
    if (!region[i]) continue;
    total++;
    const [red, green, blue] = [data[3 * i], data[3 * i + 1], data[3 * i + 2]];
    if (red >= green && green >= blue - 25 && red > blue + 8) like++;
  }
  return like / total;
}

/** Returns the standard deviation of detail relative to the local brightness. */
function detail(small, region) {
  const {data, width, height} = grey(small);
  const luminance = {data: Float32Array.from(data), width, height};
  const around = gaussianBlur(luminance, 0.03 * Math.max(width, height)).data;
  let [total, sum, squares] = [0, 0, 0];
  for (let i = 0; i < region.length; i++) {
    if (!region[i]) continue;
    const relative = (luminance.data[i] - around[i]) / (around[i] + 20);
    total++;
    sum += relative;
    squares += relative * relative;
  }
  return Math.sqrt(Math.max(0, squares / total - (sum / total) ** 2));
}

/** Throws when a good part of the frame lies outside the region and is not dark (or a page). */
function checkSurroundings(brightness, rim, region, inside) {
  const {width, height} = brightness;
  const reach = Math.max(3, roundHalfEven(0.03 * Math.max(width, height))) | 1;
  const near = dilate({data: region, width, height}, reach).data;
  const counts = new Uint32Array(256);
  let total = 0;
  for (let y = 0, i = 0; y < height; y++) {
    for (let x = 0; x < width; x++, i++) {
      if (near[i] || brightness.data[i] >= 245) continue; // 245 and above: the white of a page
      if (rim !== null && ((x - rim.x) / rim.aspect) ** 2 + (y - rim.y) ** 2 <= (1.05 * rim.radius) ** 2) continue;
      counts[brightness.data[i]]++;
      total++;
    }
  }
  if (total < 0.03 * region.length) return;
  const around = percentile(counts, 50);
  if (around > Math.max(DARK_AROUND, DARK_AGAINST * inside)) {
    throw new NotFundusError(
      'no field of view',
      `the surroundings reach ${around.toFixed(0)} of 255, what they surround ${inside.toFixed(0)}; a fundus camera's frame is dark.`,
    );
  }
}

/** Throws when a good part of the disc lies outside the picture or is black: what is there is not seen. */
export function checkWhole(small, rim, region) {
  const {data, width, height} = brightest(small);
  const [rows, columns] = [new Uint8Array(height), new Uint8Array(width)];
  for (let i = 0; i < region.length; i++) if (region[i]) rows[Math.floor(i / width)] = columns[i % width] = 1;
  const [high, wide] = [count(rows), count(columns)];
  const longer = Math.max(high, wide) / Math.max(Math.min(high, wide), 1);
  if (longer > (rim !== null || count(region) > 0.97 * region.length ? LONGEST : LONGEST_WITHOUT_RIM)) {
    throw new NotFundusError(
      'a part of the retina',
      `what is lit is ${longer.toFixed(1)} times as long as wide, and no whole disc is. Use the whole photograph, in its own shape where it was squashed.`,
    );
  }
  if (rim === null) {
    const filled = count(region) / ((Math.PI / 4) * longestLine(region, width, height) ** 2);
    if (filled >= LEAST_FILLED) return;
    throw new NotFundusError(
      'a part of the retina',
      `no whole disc is seen, and what is lit fills ${(100 * filled).toFixed(0)} % of the circle around it. Use the whole photograph.`,
    );
  }
  let lit = 0;
  for (let y = 0, i = 0; y < height; y++) {
    for (let x = 0; x < width; x++, i++) {
      if (!region[i] && data[i] <= FAINT) continue;
      if (((x - rim.x) / rim.aspect) ** 2 + (y - rim.y) ** 2 <= rim.radius ** 2) lit++;
    }
  }
  const seen = lit / (Math.PI * rim.radius ** 2 * rim.aspect);
  if (seen < LEAST_SEEN) {
    throw new NotFundusError(
      'a part of the retina',
      `${(100 * seen).toFixed(0)} % of the disc is in the picture and lit. Use the whole photograph.`,
    );
  }
}

/** Returns the largest distance between two pixels of a region, edge to edge, in pixels. */
function longestLine(region, width, height) {
  const hull = convexHull(outlines(region, width, height).found.flatMap(({points}) => points));
  let most = 0;
  for (const [x, y] of hull) for (const [a, b] of hull) most = Math.max(most, (x - a) ** 2 + (y - b) ** 2);
  return Math.sqrt(most) + 1;
}
