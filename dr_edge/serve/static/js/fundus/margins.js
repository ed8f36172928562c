// What a picture has around the photograph (a white page, the grey that normalisation leaves) shows black: a port of
// dr_edge/fundus/margins.py, which says why each number is what it is.

import {dilate, erode} from './filters.js';
import {reachedFromOutside} from './outline.js';
import {borderOf, brightest, histogram, meanAt, percentile} from './picture.js';

const WHITE = 245; // grey levels
const [WHITE_BORDER, WHITE_SIDE] = [0.6, 0.5];
const SHARP = 200;
const NEUTRAL_BORDER = 0.25;
const CALM = 16;

/**
 * Returns 1 for the white margin of a scan, a figure or a screenshot; null where there is none.
 * @param {{data: Uint8Array, width: number, height: number}} small RGB
 * @returns {Uint8Array | null}
 */
export function whiteMargin({data, width, height}) {
  const bright = brightest({data, width, height}).data.map((value) => (value >= WHITE ? 1 : 0));
  if (meanAt(bright, borderOf(width, height)) >= WHITE_BORDER) return surroundings((i) => !bright[i], width, height);
  const darkest = darkestOf({data, width, height});
  const white = darkest.map((value) => (value >= WHITE ? 1 : 0));
  const across = (row) => Array.from({length: width}, (_, x) => row * width + x);
  const down = (column) => Array.from({length: height}, (_, y) => y * width + column);
  const sides = [across(0), across(height - 1), down(0), down(width - 1)].map((side) => meanAt(white, side));
  if (Math.max(...sides) < WHITE_SIDE) return null;
  const margin = surroundings((i) => !white[i], width, height);
  const close = dilate({data: margin, width, height}, 3).data.map((value, i) => (value && !margin[i] ? 1 : 0));
  const levels = histogram({data: darkest, width, height}, 1, close);
  return percentile(levels, 50) <= SHARP ? margin : null; // NaN where nothing is close
}

/** Returns 1 for the even grey of 128 that normalisation leaves around an RGB picture; null where there is none. */
export function neutralMargin({data, width, height}) {
  const high = brightest({data, width, height}).data;
  const low = darkestOf({data, width, height});
  const near = high.map((value, i) => (value <= 136 && low[i] >= 120 ? 1 : 0));
  if (meanAt(near, borderOf(width, height)) < NEUTRAL_BORDER) return null;
  const highest = dilate({data: high, width, height}, 5).data;
  const lowest = erode({data: low, width, height}, 5).data;
  return surroundings((i) => high[i] > 144 || low[i] < 112 || highest[i] - lowest[i] > CALM, width, height);
}

function darkestOf({data, width, height}) {
  return Uint8Array.from({length: width * height}, (_, i) => Math.min(data[3 * i], data[3 * i + 1], data[3 * i + 2]));
}

/** Returns an RGB picture with its margin painted black; the picture itself where there is none. */
export function blackened(picture, margin) {
  if (margin === null) return picture;
  return {...picture, data: picture.data.map((value, i) => (margin[Math.floor(i / 3)] ? 0 : value))};
}

/**
 * Returns a photograph whose rows show its margin black.
 * @param {import('./crop.js').Source} source
 * @param {{data: Uint8Array, width: number, height: number, factor: number} | null} margin found in a copy; factor: how many
 *   pixels of the photograph one of the copy spans
 * @returns {import('./crop.js').Source}
 */
export function withoutMargin(source, margin) {
  if (margin === null) return source;
  const {data, width, height, factor} = margin;
  const rows = (top, bottom) => {
    const out = source.rows(top, bottom).slice();
    for (let y = top, i = 0; y < bottom; y++) {
      const from = Math.min(Math.floor(y / factor), height - 1) * width;
      for (let x = 0; x < source.width; x++, i += 3) {
        if (data[from + Math.min(Math.floor(x / factor), width - 1)]) out.fill(0, i, i + 3);
      }
    }
    return out;
  };
  return {...source, rows};
}

/** Returns 1 for what is reached from outside the picture, and two pixels more. */
function surroundings(blocked, width, height) {
  return dilate({data: reachedFromOutside(blocked, width, height), width, height}, 5).data;
}
