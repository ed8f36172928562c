// Fits a circle, or an upright ellipse, to the rim points that agree: a port of dr_edge/fundus/circle_fit.py, which
// says why each number is what it is.

import {fitAlgebraic} from './least_squares.js';
import {roundHalfEven} from './picture.js';
import {integers} from './random.js';

const TRIALS = 150;
const JURY = 100; // points that judge the candidates; all of them refine the winner
const ASPECTS = [0.45, 0.97, 1.1, 1.7]; // narrow, and wide
const BINS = 180;

/**
 * @typedef {object} Rim
 * @property {number} x centre in the pixels of the points
 * @property {number} y centre
 * @property {number} radius vertical, in pixels
 * @property {number} aspect horizontal / vertical radius
 * @property {number} support fraction of the rim inside the frame that has a point on it
 * @property {number} arc degrees of the whole circle that have a point on them
 * @property {number} explained fraction of the points that lie on the rim
 * @property {number} quarters in how many quarters of the circle there is a point on it
 */

/**
 * Fits the rim on which the most points agree.
 * @param {number[][]} points [x, y] pixels
 * @param {{width: number, height: number}} frame rim outside it cannot be seen and does not count against the fit
 * @param {{least: number, most: number, tolerance: number, squashed?: boolean}} limits vertical radius and largest
 *   distance of a point from the rim, in pixels; squashed also allows an upright ellipse
 * @returns {Rim | null}
 */
export function fitRim(points, frame, {least, most, tolerance, squashed = false}) {
  const needed = squashed ? 4 : 3;
  if (points.length < 2 * needed) return null;
  const middle = [mean(points, 0), mean(points, 1)];
  const centred = points.map(([x, y]) => [x - middle[0], y - middle[1]]);
  const plausible = (rim) =>
    rim.radius >= least &&
    rim.radius <= most &&
    (rim.aspect === 1 ||
      (rim.aspect >= ASPECTS[0] && rim.aspect <= ASPECTS[1]) ||
      (rim.aspect >= ASPECTS[2] && rim.aspect <= ASPECTS[3]));
  const onRim = (rim, reach) => centred.filter((point) => distance(point, rim) < reach);

  let best = fitAlgebraic(centred, squashed);
  if (!plausible(best) || onRim(best, tolerance).length / centred.length < 0.9) {
    best = sampled(centred, tolerance, squashed, plausible);
  }
  if (best === null) return null;
  for (const scale of [1.5, 1, 1]) {
    const inliers = onRim(best, tolerance * scale);
    if (inliers.length < 2 * needed) return null;
    const refined = fitAlgebraic(inliers, squashed);
    if (!plausible(refined)) break;
    best = refined;
  }
  return described(points, middle, best, tolerance, frame);
}

function mean(points, axis) {
  return points.reduce((sum, point) => sum + point[axis], 0) / points.length;
}

/** Returns the rim through a few points on which the most others agree (RANSAC), or null. */
function sampled(points, tolerance, squashed, plausible) {
  const needed = squashed ? 4 : 3;
  const chosen = integers(points.length, TRIALS * needed);
  const step = Math.max(1, Math.floor(points.length / JURY));
  const jury = points.filter((_, index) => index % step === 0);
  let best = null;
  let bestVotes = -1;
  for (let trial = 0; trial < TRIALS; trial++) {
    const few = chosen.slice(trial * needed, (trial + 1) * needed).map((index) => points[index]);
    const rim = fitAlgebraic(few, squashed);
    if (!plausible(rim)) continue;
    const votes = jury.reduce((sum, point) => sum + (distance(point, rim) < tolerance ? 1 : 0), 0);
    if (votes > bestVotes) [best, bestVotes] = [rim, votes];
  }
  return best;
}

/** Returns the distance of a point from a rim in pixels (first order for an ellipse). */
function distance([px, py], {x, y, radius, aspect}) {
  const dx = (px - x) / aspect;
  const dy = py - y;
  const fromCentre = Math.hypot(dx, dy);
  // Gradient of the stretched radius, so that a squashed rim is measured in real pixels too.
  const steepness = Math.hypot(dx / aspect, dy) / Math.max(fromCentre, 1e-6);
  return Math.abs(fromCentre - radius) / Math.max(steepness, 1e-6);
}

function described(points, middle, best, tolerance, frame) {
  const inliers = points.filter(([x, y]) => distance([x - middle[0], y - middle[1]], best) < tolerance);
  const rim = {x: best.x + middle[0], y: best.y + middle[1], radius: best.radius, aspect: best.aspect};
  const {visible, seen} = arcs(inliers, rim, frame);
  const sum = (flags) => flags.reduce((total, flag) => total + flag, 0);
  const quarter = BINS / 4;
  return {
    ...rim,
    support: sum(seen) / Math.max(sum(visible), 1),
    arc: (sum(seen) / BINS) * 360,
    explained: inliers.length / points.length,
    quarters: [0, 1, 2, 3].filter((q) => sum(seen.slice(q * quarter, (q + 1) * quarter)) > 0).length,
  };
}

/** Returns which two-degree arcs lie inside the frame, and which of those have a point. */
function arcs(points, {x, y, radius, aspect}, {width, height}) {
  const margin = 0.01 * Math.max(width, height);
  const visible = Array.from({length: BINS}, (_, bin) => {
    const angle = ((bin + 0.5) * 2 * Math.PI) / BINS;
    const rimX = x + radius * aspect * Math.cos(angle);
    const rimY = y + radius * Math.sin(angle);
    const inside = rimX > margin && rimX < width - 1 - margin && rimY > margin && rimY < height - 1 - margin;
    return inside ? 1 : 0;
  });
  const seen = new Array(BINS).fill(0);
  for (const [px, py] of points) {
    const angle = Math.atan2(py - y, (px - x) / aspect);
    const turned = angle < 0 ? angle + 2 * Math.PI : angle;
    const bin = Math.min(Math.floor((turned * BINS) / (2 * Math.PI)), BINS - 1);
    if (visible[bin]) seen[bin] = 1;
  }
  return {visible, seen};
}

/**
 * Moves a rim onto the steepest fall of brightness near it, which no threshold shifts.
 * @param {Rim} rim
 * @param {{data: Uint8Array, width: number, height: number}} brightness the picture it was fitted in
 * @param {number} reach how far inwards and outwards to look, as a fraction of the radius
 * @param {number} tolerance as for fitRim
 * @returns {Rim} the rim itself where the fall is too faint to be followed
 */
export function sharpenRim(rim, brightness, reach, tolerance) {
  const {width, height} = brightness;
  const rays = 240;
  const steps = Math.max(8, Math.trunc((2 * reach * rim.radius) / 0.5));
  const points = [];
  let free = 0;
  for (let ray = 0; ray < rays; ray++) {
    const angle = (ray * 2 * Math.PI) / rays;
    const xs = [];
    const ys = [];
    const profile = [];
    for (let step = 0; step < steps; step++) {
      const stretch = 1 - reach + (2 * reach * step) / (steps - 1);
      xs.push(Math.fround(rim.x + rim.radius * rim.aspect * Math.cos(angle) * stretch));
      ys.push(Math.fround(rim.y + rim.radius * Math.sin(angle) * stretch));
      profile.push(sample(brightness, xs[step], ys[step]));
    }
    let at = 0;
    const fall = (step) => profile[step] - profile[step + 2];
    for (let step = 1; step < steps - 2; step++) if (fall(step) > fall(at)) at = step;
    const [x, y] = [xs[at + 1], ys[at + 1]];
    if (!(x > 1.5 && y > 1.5 && x < width - 2.5 && y < height - 2.5)) continue;
    free++;
    if (fall(at) >= 3 && at > 0 && at < steps - 3) points.push([x, y]);
  }
  if (points.length < 0.3 * Math.max(free, 1)) return rim;
  const limits = {
    least: rim.radius * (1 - reach),
    most: rim.radius * (1 + reach),
    tolerance,
    squashed: rim.aspect !== 1,
  };
  const found = fitRim(points, brightness, limits);
  if (found === null || found.arc < 0.6 * rim.arc || Math.abs(found.aspect - rim.aspect) > reach) return rim;
  return {...rim, x: found.x, y: found.y, radius: found.radius, aspect: found.aspect};
}

/** Reads a grey picture between pixels, linearly, rounded to a whole level; beyond the edge the edge is repeated. */
function sample({data, width, height}, x, y) {
  const x0 = Math.floor(x);
  const y0 = Math.floor(y);
  const column = (i) => Math.min(width - 1, Math.max(0, i));
  const row = (i) => Math.min(height - 1, Math.max(0, i)) * width;
  const above = data[row(y0) + column(x0)] * (1 - x + x0) + data[row(y0) + column(x0 + 1)] * (x - x0);
  const below = data[row(y0 + 1) + column(x0)] * (1 - x + x0) + data[row(y0 + 1) + column(x0 + 1)] * (x - x0);
  return roundHalfEven(above * (1 - y + y0) + below * (y - y0));
}
