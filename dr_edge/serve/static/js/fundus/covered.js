// Says whether a label, text or a bar lies over the retina: a port of dr_edge/fundus/covered.py, which says why each number
// is what it is.

import {dilate, erode} from './filters.js';
import {reachedFromOutside, regions} from './outline.js';
import {brightest, count, discMask, histogram, percentile} from './picture.js';

export const COVER_SIDE = 256;
const SIZE = {width: COVER_SIDE, height: COVER_SIDE};
const EDGE = 130;
const LEAST = 80;
const [UNLIT, LEAST_UNLIT] = [10, 250];
const [STROKE, STROKE_ON, LEAST_STROKE] = [0.4, 40, 24];
const INSIDE = 0.93;
const REACH = 13;

const COLOURED = 10;
const PATCH_LIT = 20;
const [COLOURLESS, EVEN] = [16, 10];
const GREY_PATCH = {least: 30, filled: 0, differing: 0.45, levels: 40, brightestOf: 235};
const RECTANGLE = {least: 100, filled: 0.9, differing: 0.4, levels: 30, brightestOf: 255};
const RING = [9, 11];

/**
 * Returns whether a part of the retina is covered.
 * @param {{data: Uint8Array, width: number, height: number}} crop RGB, COVER_SIDE squared
 */
export function isCovered(crop) {
  const bright = brightest(crop).data;
  const clear = clearOf(bright);
  if (count(opened(where((i) => clear[i] && bright[i] <= UNLIT))) > LEAST_UNLIT) return true;
  const steep = spread(crop, 3);
  if (count(where((i) => clear[i] && steep[i] > EDGE)) > LEAST) return true;
  return hasDarkStrokes(channelOf(crop, 0), clear) || hasPatch(crop, bright, clear);
}

/** Returns whether strokes of at most six pixels are far darker than what is around them, in red. */
function hasDarkStrokes(red, clear) {
  const around = erode(dilate(red, 7), 7).data;
  const stroke = (i) => clear[i] && red.data[i] < STROKE * around[i] && around[i] > STROKE_ON;
  return count(where(stroke)) > LEAST_STROKE;
}

/** Returns whether an even patch stands out of what surrounds it. */
function hasPatch(crop, high, clear) {
  const {data} = crop;
  const low = high.map((_, i) => Math.min(data[3 * i], data[3 * i + 1], data[3 * i + 2]));
  const colour = {data: high.map((value, i) => value - low[i]), ...SIZE};
  if (!(percentile(histogram(colour, 1, clear), 50) >= COLOURED)) return false;
  const lit = (i) => clear[i] && high[i] > PATCH_LIT;
  const [most, least] = [dilate({data: high, ...SIZE}, 5).data, erode({data: low, ...SIZE}, 5).data];
  const colourless = opened(where((i) => lit(i) && most[i] - least[i] <= COLOURLESS));
  if (standsOut(crop, colourless, GREY_PATCH)) return true;
  const range = spread(crop, 5);
  const even = where((i) => lit(i) && range[i] <= EVEN);
  return standsOut(crop, opened(even), RECTANGLE);
}

/** Returns whether one region of `even` is a patch: large, of a shape, with an edge. */
function standsOut({data}, even, {least, filled, differing, levels, brightestOf}) {
  const {labels, first} = regions(even, COVER_SIDE, COVER_SIDE);
  const all = first.map(() => ({area: 0, sum: [0, 0, 0], box: [COVER_SIDE, COVER_SIDE, 0, 0]}));
  for (let i = 0; i < labels.length; i++) {
    if (labels[i] === 0) continue;
    const one = all[labels[i] - 1];
    const [x, y] = [i % COVER_SIDE, Math.floor(i / COVER_SIDE)];
    const [left, top, right, bottom] = one.box;
    one.box = [Math.min(left, x), Math.min(top, y), Math.max(right, x + 1), Math.max(bottom, y + 1)];
    one.area++;
    for (let c = 0; c < 3; c++) one.sum[c] += data[3 * i + c];
  }
  return all.some(({area, sum, box}, index) => {
    const [left, top, right, bottom] = box;
    if (area < least || area < filled * (right - left) * (bottom - top)) return false;
    const colour = sum.map((value) => value / area);
    if (Math.max(...colour) > brightestOf) return false;
    const away = ringAround(labels, index + 1, box).map((i) =>
      Math.max(...colour.map((value, c) => Math.abs(data[3 * i + c] - value))),
    );
    return away.filter((value) => value > levels).length > differing * away.length;
  });
}

/** Returns the indices of the pixels of a ring a few pixels outside a region. */
function ringAround(labels, label, [left, top, right, bottom]) {
  const margin = (RING[1] >> 1) + 1;
  const [x0, y0] = [Math.max(0, left - margin), Math.max(0, top - margin)];
  const width = Math.min(COVER_SIDE, right + margin) - x0;
  const height = Math.min(COVER_SIDE, bottom + margin) - y0;
  const at = (i) => (y0 + Math.floor(i / width)) * COVER_SIDE + x0 + (i % width);
  const patch = {data: new Uint8Array(width * height).map((_, i) => (labels[at(i)] === label ? 1 : 0)), width, height};
  const [inner, outer] = RING.map((side) => dilate(patch, side).data);
  const ring = [];
  outer.forEach((value, i) => {
    if (value && !inner[i]) ring.push(at(i));
  });
  return ring;
}

/** Returns the highest minus the lowest level around each pixel, of the channel in which that is most. */
function spread(crop, side) {
  const most = new Uint8Array(COVER_SIDE * COVER_SIDE);
  for (let c = 0; c < 3; c++) {
    const channel = channelOf(crop, c);
    const [high, low] = [dilate(channel, side).data, erode(channel, side).data];
    for (let i = 0; i < most.length; i++) most[i] = Math.max(most[i], high[i] - low[i]);
  }
  return most;
}

function channelOf({data}, c) {
  return {data: new Uint8Array(COVER_SIDE * COVER_SIDE).map((_, i) => data[3 * i + c]), ...SIZE};
}

function where(holds) {
  return new Uint8Array(COVER_SIDE * COVER_SIDE).map((_, i) => (holds(i) ? 1 : 0));
}

/** Returns what of a mask holds a square of 5 pixels. */
function opened(mask) {
  return dilate(erode({data: mask, ...SIZE}, 5), 5).data;
}

/** Returns the disc without its rim and without what lies near the black that surrounds it. */
function clearOf(bright) {
  const whole = discMask(COVER_SIDE, 0.99);
  const around = reachedFromOutside((i) => whole[i] && bright[i] > UNLIT, COVER_SIDE, COVER_SIDE);
  const near = dilate({data: around, ...SIZE}, REACH).data;
  return discMask(COVER_SIDE, INSIDE).map((inside, i) => (inside && !near[i] ? 1 : 0));
}
