// Finds the field of view: a port of dr_edge/fundus/fov.py, which says why each number is what it is.

import {KINDS, NORMALISED, PROBE_SIDE, appearance, checkKind} from './appearance.js';
import {fitRim, sharpenRim} from './circle_fit.js';
import {COVER_SIDE, isCovered} from './covered.js';
import {blurSigmaOne, dilate, erode} from './filters.js';
import {NotFundusError, checkFundus, checkWhole} from './gradability.js';
import {blackened, neutralMargin, whiteMargin} from './margins.js';
import {convexHull, depth, fillConvex, largestFilled, outlines} from './outline.js';
import {brightest, count, histogram, percentile, roundHalfEven} from './picture.js';
import {showsSeveral} from './several.js';
import {cropSquare} from './square.js';

export const WORK_SIDE = 480; // longest side of the copy that is searched
const STEPS = [15, 9, 25, 5, 40]; // thresholds above the border's brightness, grey levels
const LIT_LIKE = 100; // grey levels above the border for which the thresholds hold
const CLEAR_EDGE = 15; // grey levels across the outline of a region that stands out of a dark frame
const NO_RIM_RADIUS = 0.6; // of the longer side

/** Returns how many times a picture of this size is halved before it is searched. */
export function halvings(width, height) {
  let times = 0;
  while (Math.max(width, height) > WORK_SIDE && Math.min(width, height) >= 32) {
    width >>= 1;
    height >>= 1;
    times++;
  }
  return times;
}

/**
 * Finds the disc of a fundus photograph in its small copy.
 * @param {{data: Uint8Array, width: number, height: number}} small RGB, halved until no side exceeds WORK_SIDE
 * @param {number} factor how many pixels of the photograph one of the copy spans: 2 ** halvings
 * @returns {{box: number[], rim: boolean, kind: string, margin: object | null, covered: boolean}} box: top, left, bottom, right in whole pixels of
 *   the photograph, as slice bounds, may exceed the frame; rim: whether a rim was seen; kind: of picture; margin: what is to
 *   show black, for withoutMargin; covered: whether something lies over the retina
 * @throws {NotFundusError}
 */
export function findFov(small, factor) {
  if (Math.max(small.width, small.height) > WORK_SIDE) {
    throw new NotFundusError(
      'no field of view',
      `${small.width * factor}x${small.height * factor} is a strip, no photograph.`,
    );
  }
  const neutral = neutralMargin(small);
  small = blackened(small, neutral);
  const white = whiteMargin(small);
  const inner = blackened(small, white);
  const bright = brightest(inner);
  const {rim, region} = search(bright);
  if (showsSeveral(small, bright)) {
    throw new NotFundusError('more than one eye', 'two or more discs are seen, and one alone would be graded. Cut them apart.');
  }
  if (neutral !== null && (rim === null || rim.support + rim.explained <= 1.2)) {
    throw new NotFundusError(
      'already normalised',
      'the even grey around it is what normalisation leaves, and its disc is not clear enough to be cut out. Use the original photograph.',
    );
  }
  checkFundus(small, rim, region);
  checkWhole(inner, rim, region);
  const {x, y, radius, aspect} = rim ?? withoutRim(region, small.width);
  const edges = [y + 0.5 - radius, x + 0.5 - radius * aspect, y + 0.5 + radius, x + 0.5 + radius * aspect];
  const rows = (first, last) => inner.data.subarray(first * inner.width * 3, last * inner.width * 3);
  const cut = (side) => cropSquare({...inner, rows}, edges.map(roundHalfEven), side);
  const kind = appearance(cut(PROBE_SIDE));
  checkKind(kind, KINDS);
  const [top, left, bottom, right] = edges.map((edge) => edge * factor);
  const height = roundHalfEven(bottom - top);
  const width = aspect === 1 ? height : roundHalfEven(right - left);
  const [firstRow, firstColumn] = [roundHalfEven(top), roundHalfEven(left)];
  const box = [firstRow, firstColumn, firstRow + height, firstColumn + width];
  // The grey around a normalised picture belongs to it, as records of such hold it.
  const data = united(white, kind === NORMALISED ? null : neutral);
  const margin = data && {data, width: inner.width, height: inner.height, factor};
  return {box, rim: rim !== null, kind, margin, covered: isCovered(cut(COVER_SIDE))};
}

function united(first, second) {
  if (first === null || second === null) return first ?? second;
  return first.map((value, i) => value | second[i]);
}

/** Returns the best rim (null when there is none worth the name) and the lit region; `bright` is the brightest channel. */
function search(bright) {
  const {width, height} = bright;
  const frame = {width, height};
  const brightness = blurSigmaOne(bright);
  const levels = histogram(brightness, 2);
  const floor = percentile(levels, 1);
  const scale = Math.max(1, (percentile(levels, 90) - floor) / LIT_LIKE);
  const tolerance = 0.006 * Math.max(width, height);
  const around = {high: dilate(brightness, 7).data, low: erode(brightness, 7).data};
  let [best, bestMerit] = [null, 0];
  let region = new Uint8Array(width * height).fill(1);
  let regionEdge = CLEAR_EDGE;
  for (const step of STEPS) {
    const lit = litRegion(
      brightness.data.map((value) => (value > floor + step * scale ? 1 : 0)),
      width,
      height,
    );
    if (lit === null) continue;
    const points = rimPoints(lit, width, height);
    const extent = extentOf(lit, width, height);
    const edge = edgeHeight(lit, around, width, height);
    if (edge > regionEdge && best === null) [region, regionEdge] = [lit, edge];
    const rims = [fitRim(points, frame, {least: 0.4 * extent, most: 0.8 * extent, tolerance})];
    if (rims[0] === null || rims[0].explained < 0.8) {
      const ellipse = fitRim(points, frame, {least: 0.25 * extent, most: 1.1 * extent, tolerance, squashed: true});
      // A frame is seldom square unless the photograph was squashed into it; elsewhere, and where it is wide, it must be clear.
      const square = width / height > 0.97 && width / height < 1.03 && ellipse !== null && ellipse.aspect < 1;
      if (square || (ellipse !== null && isClear(ellipse))) rims.push(ellipse);
    }
    for (const rim of rims) {
      if (rim === null || !isEvident(rim) || !contains(rim, lit, width, height)) continue;
      let merit = rim.support + rim.explained + (0.3 * rim.arc) / 360 + 0.5 * Math.min(edge / 30, 1);
      if (rim.aspect !== 1) merit -= 0.1;
      if (merit > bestMerit + 0.02) [best, bestMerit, region] = [rim, merit, lit];
    }
    if (best !== null && Math.min(best.support, best.explained) > 0.94 && edge > 30) break;
  }
  if (best !== null) best = sharpenRim(best, brightness, 0.06, tolerance);
  return {rim: best, region};
}

/** Whether enough of a rim is seen: a long arc, or the corners of a frame that a larger disc fills. */
function isEvident(rim) {
  if (rim.support < 0.35 || rim.support + rim.explained < 1) return false;
  return rim.arc >= 40 || (rim.quarters >= 3 && rim.support > 0.65 && rim.explained > 0.9 && rim.arc >= 12);
}

/** Whether nearly all of an ellipse is seen, and nothing else. */
function isClear(ellipse) {
  return ellipse.support > 0.6 && ellipse.explained > 0.7 && ellipse.arc > 150;
}

/** Returns the median fall of brightness (highest minus lowest around a pixel) across the region's outline inside the frame; 0 when little of it is. */
function edgeHeight(region, {high, low}, width, height) {
  const inner = erode({data: region, width, height}, 3, 0).data;
  const falls = new Uint32Array(256);
  let [all, free] = [0, 0];
  for (let y = 0, i = 0; y < height; y++) {
    for (let x = 0; x < width; x++, i++) {
      if (!region[i] || inner[i]) continue;
      all++;
      if (x < 4 || y < 4 || x >= width - 4 || y >= height - 4) continue;
      free++;
      falls[high[i] - low[i]]++;
    }
  }
  return free < 0.1 * all ? 0 : percentile(falls, 50);
}

/** Returns the largest lit region, freed of thin bars and filled; null when nothing is lit. */
function litRegion(lit, width, height) {
  const opened = dilate(erode({data: lit, width, height}, 5), 5).data;
  return largestFilled(opened, width, height, 0.02 * lit.length);
}

/** Returns the outline points on the region's convex hull that the frame did not cut, [x, y] each. */
function rimPoints(region, width, height) {
  const {found} = outlines(region, width, height);
  const outline = found.reduce((longest, one) => (one.points.length > longest.length ? one.points : longest), []);
  const inside = depth(fillConvex(convexHull(outline), width, height), width, height);
  const margin = 2;
  return outline.filter(([x, y]) => {
    const free = x >= margin && y >= margin && x < width - margin && y < height - margin;
    return free && inside[y * width + x] <= 2.5 * 65536; // a dark shadow's edge lies inside the hull, the rim on it
  });
}

function extents(region, width, height) {
  let [top, left, bottom, right] = [height, width, -1, -1];
  const rows = new Uint8Array(height);
  const columns = new Uint8Array(width);
  for (let y = 0, i = 0; y < height; y++) {
    for (let x = 0; x < width; x++, i++) {
      if (!region[i]) continue;
      rows[y] = columns[x] = 1;
      [top, bottom] = [Math.min(top, y), Math.max(bottom, y)];
      [left, right] = [Math.min(left, x), Math.max(right, x)];
    }
  }
  return {top, left, bottom, right, longer: Math.max(count(rows), count(columns))};
}

function extentOf(region, width, height) {
  return extents(region, width, height).longer;
}

function contains(rim, region, width, height) {
  let [all, outside] = [0, 0];
  for (let y = 0; y < height; y += 2) {
    for (let x = 0; x < width; x += 2) {
      if (!region[y * width + x]) continue;
      all++;
      if (((x - rim.x) / rim.aspect) ** 2 + (y - rim.y) ** 2 > (1.02 * rim.radius) ** 2) outside++;
    }
  }
  return outside < 0.03 * all;
}

/** Returns the disc around a region whose rim is not seen: the retina fills the frame. */
function withoutRim(region, width) {
  const {top, left, bottom, right} = extents(region, width, region.length / width);
  const radius = NO_RIM_RADIUS * Math.max(bottom - top + 1, right - left + 1);
  return {x: (left + right) / 2, y: (top + bottom) / 2, radius, aspect: 1};
}
