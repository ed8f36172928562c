// Says whether a picture shows more than one fundus: a port of dr_edge/fundus/several.py, which says why each number is what it is.

import {blurSigmaOne, dilate, erode} from './filters.js';
import {convexHull, depth, enclosedArea, outlines, reachedFromOutside, regions} from './outline.js';
import {borderOf, count, histogram, percentile, roundHalfEven} from './picture.js';
import {halve} from './resize.js';

const STEPS = [5, 12, 25];
const LEAST_AREA = 0.05;
const LEAST_OF_FRAME = 0.01;
const CORES = [0.85, 0.7, 0.55, 0.4];
const MOST_PARTS = 12;
const [CONVEX, CONVEX_DIVIDED] = [0.93, 0.9];
const [LONGEST, LONGEST_DIVIDED] = [2.6, 2.18];
const RETINA_COLOUR = 0.5;
const COLD = 20;
const FLAT = 0.45;
const [COMMONEST, COMMONEST_GREY] = [24, 6];
const GREY = 12;
const ROUND = 0.93;
const GREY_SIDE = 0.35;
const EVEN = 10;
const BORDER = 0.6;
const BAR = 16;
const BAR_LIT = 25;

/**
 * Returns whether a picture shows two or more parts that look like a fundus.
 * @param {{data: Uint8Array, width: number, height: number}} small RGB
 * @param {{data: Uint8Array, width: number, height: number}} brightness brightest channel, black where there is a white margin
 */
export function showsSeveral(small, brightness) {
  const away = againstBorder(small);
  const against = away === null ? brightness : {...brightness, data: brightness.data.map((value, i) => Math.min(value, away[i]))};
  let standing = withoutBars(small, against);
  if (Math.max(small.width, small.height) > 240) {
    small = halve(small);
    standing = halve(standing, 1);
  }
  const levels = histogram(standing, 2);
  const floor = percentile(levels, 1);
  const scale = Math.max(1, (percentile(levels, 90) - floor) / 100);
  for (const step of STEPS) {
    const lit = standing.data.map((value) => (value > floor + step * scale ? 1 : 0));
    const found = parts(lit, small.width, small.height);
    if (found.length > 1 && found.filter((part) => likeAFundus(part, small)).length > 1) return true;
  }
  return false;
}

/** Returns `standing` without lit rows and columns of one colour from edge to edge, which stand between pictures. */
function withoutBars({data, width, height}, standing) {
  const isBar = (at, length) => {
    const low = [255, 255, 255];
    const high = [0, 0, 0];
    for (let k = 0; k < length; k++) {
      if (standing.data[at(k)] <= BAR_LIT) return false;
      for (let c = 0; c < 3; c++) {
        const value = data[3 * at(k) + c];
        low[c] = Math.min(low[c], value);
        high[c] = Math.max(high[c], value);
      }
    }
    return high.every((value, c) => value - low[c] <= BAR);
  };
  const columns = Array.from({length: width}, (_, x) => isBar((y) => y * width + x, height));
  const rows = Array.from({length: height}, (_, y) => isBar((x) => y * width + x, width));
  const [some, others] = [columns, rows].map((bars) => bars.includes(true) && bars.includes(false));
  if (!some && !others) return standing;
  const kept = standing.data.map((value, i) => {
    const bar = (some && columns[i % width]) || (others && rows[Math.floor(i / width)]);
    return bar ? 0 : value;
  });
  return {...standing, data: kept};
}

/** Returns how far each pixel lies from the colour of an even, lit border; null where there is none. */
function againstBorder({data, width, height}) {
  const border = borderOf(width, height);
  const colour = [0, 1, 2].map((c) => {
    const counts = new Uint32Array(256);
    for (const i of border) counts[data[3 * i + c]]++;
    return percentile(counts, 50);
  });
  const alike = border.filter((i) => colour.every((level, c) => Math.abs(data[3 * i + c] - level) <= EVEN)).length;
  if (alike / border.length < BORDER || Math.max(...colour) < 25) return null;
  const levels = colour.map(roundHalfEven);
  const away = Uint8Array.from({length: width * height}, (_, i) =>
    Math.max(...levels.map((level, c) => Math.abs(data[3 * i + c] - level))),
  );
  return blurSigmaOne({data: away, width, height}).data;
}

/** Returns the parts of what is lit; discs that touch are two parts. */
function parts(lit, width, height) {
  const opened = dilate(erode({data: lit, width, height}, 3), 3).data;
  const {labels, found} = outlines(opened, width, height);
  const sorted = found.map((one) => ({...one, area: enclosedArea(one.points)})).sort((a, b) => b.area - a.area);
  if (!sorted.length || sorted[0].area < 0.02 * lit.length) return [];
  const least = Math.max(LEAST_AREA * sorted[0].area, LEAST_OF_FRAME * lit.length);
  const taken = new Uint8Array(lit.length);
  const out = [];
  for (const {label, points, area} of sorted.slice(0, MOST_PARTS)) {
    if (area < least) break;
    const [x, y] = points[0];
    if (taken[y * width + x]) continue; // inside a hole of a larger one
    const filled = reachedFromOutside((index) => labels[index] === label, width, height).map((reached) => 1 - reached);
    filled.forEach((inside, i) => (taken[i] |= inside));
    const solid = area / Math.max(enclosedArea(convexHull(points)), 1);
    const pieces = solid < 0.985 ? divided(filled, width, height) : [filled];
    const limits = pieces.length === 1 ? [CONVEX, LONGEST] : [CONVEX_DIVIDED, LONGEST_DIVIDED];
    out.push(...pieces.filter((part) => count(part) >= least && isCompact(part, width, height, ...limits)));
  }
  return out;
}

/** Divides a region at its waists; a region without one is returned whole. */
function divided(mask, width, height) {
  const deep = depth(mask, width, height).map((value) => value / 65536);
  const peak = deep.reduce((most, value) => Math.max(most, value), 0);
  let best = [];
  for (const share of CORES) {
    const core = Uint8Array.from(deep, (value) => (value > share * peak ? 1 : 0));
    const {labels, first} = regions(core, width, height);
    const highest = first.slice(0, MOST_PARTS - 1);
    for (let i = 0; i < labels.length; i++) {
      const at = labels[i] - 1;
      if (at >= 0 && at < highest.length && deep[i] > deep[highest[at]]) highest[at] = i;
    }
    const cores = highest
      .filter((i) => deep[i] > (share + 0.05) * peak)
      .map((i) => ({x: i % width, y: Math.floor(i / width), radius: deep[i]}));
    if (cores.length > best.length) best = cores;
  }
  if (best.length < 2) return [mask];
  const pieces = best.map(() => new Uint8Array(mask.length));
  for (let i = 0; i < mask.length; i++) {
    if (!mask[i]) continue;
    const away = best.map(({x, y, radius}) => Math.hypot((i % width) - x, Math.floor(i / width) - y) - radius);
    pieces[away.indexOf(Math.min(...away))][i] = 1;
  }
  return pieces;
}

function isCompact(part, width, height, convex, longest) {
  const {found} = outlines(part, width, height);
  const areas = found.map(({points}) => enclosedArea(points));
  const at = areas.indexOf(Math.max(...areas));
  const {points} = found[at];
  const span = (axis) => {
    const values = points.map((point) => point[axis]);
    return values.reduce((most, value) => Math.max(most, value)) - values.reduce((least, value) => Math.min(least, value)) + 1;
  };
  const [wide, high] = [span(0), span(1)];
  return Math.max(wide, high) <= longest * Math.min(wide, high) && areas[at] >= convex * enclosedArea(convexHull(points));
}

/** Returns whether what lies in a part has a retina's colours, or is grey and round, and not few flat ones. */
function likeAFundus(part, small) {
  const {data, width, height} = small;
  const inner = erode({data: part, width, height}, 5).data;
  const counts = new Map();
  let [total, warm, spread] = [0, 0, 0];
  for (let i = 0; i < inner.length; i++) {
    if (!inner[i]) continue;
    total++;
    const [red, green, blue] = [data[3 * i], data[3 * i + 1], data[3 * i + 2]];
    if (red > Math.max(green, blue) - COLD) warm++;
    spread += Math.max(red, green, blue) - Math.min(red, green, blue);
    if (Math.max(red, green, blue) >= 250) continue;
    const code = red * 65536 + green * 256 + blue;
    counts.set(code, (counts.get(code) ?? 0) + 1);
  }
  if (!counts.size) return false;
  const grey = spread <= GREY * total;
  if (grey && !isLargeAndRound(part, width, height)) return false;
  const commonest = [...counts.values()].sort((a, b) => b - a).slice(0, grey ? COMMONEST_GREY : COMMONEST);
  return commonest.reduce((sum, one) => sum + one, 0) <= FLAT * total && warm >= RETINA_COLOUR * total;
}

function isLargeAndRound(part, width, height) {
  let [left, right, top, bottom, area] = [Infinity, -1, Infinity, -1, 0];
  for (let i = 0; i < part.length; i++) {
    if (!part[i]) continue;
    const [x, y] = [i % width, Math.floor(i / width)];
    [left, right, top, bottom] = [Math.min(left, x), Math.max(right, x), Math.min(top, y), Math.max(bottom, y)];
    area++;
  }
  const [wide, high] = [right - left + 1, bottom - top + 1];
  return Math.min(wide, high) >= GREY_SIDE * Math.min(width, height) && area <= ROUND * wide * high;
}
