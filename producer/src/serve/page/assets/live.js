// Keeps the page up to date: it follows the events of a job, or asks again every two seconds, and replaces what has changed.
import { morph } from './morph.js';

// Events come about once a second for each job; more often nobody reads.
const AT_MOST_EVERY = 1_000;
// Not everything makes an event: a consumer that starts, or a leader that has not read its own event back yet.
const JOB_EVERY = 3_000;
const ENDED_JOB_EVERY = 30_000;
const LIST_EVERY = 2_000;
// Between attempts to reach a gateway that is away.
const AGAIN_AFTER = 2_000;

const EVENTS = ['opened', 'enqueued', 'sealed', 'progress', 'cancelled', 'expired', 'paused', 'resumed', 'redriven', 'stalled', 'done', 'exported', 'export_failed'];

const main = document.getElementById('main');
const connection = document.getElementById('connection');
const announcement = document.getElementById('announcement');

let events = null;
let lastEvent = main?.dataset.lastEvent;
let isRefreshing = false;
let isWanted = false;
let refreshedAt = 0;
let isLeaving = false;
let timer = 0;

/** Asks for the page again, soon, and once however often it is called. */
function refreshSoon(after = 0) {
  isWanted = true;
  if (isRefreshing || isLeaving || document.hidden) return;
  const wait = Math.max(after, refreshedAt + AT_MOST_EVERY - Date.now(), 0);
  clearTimeout(timer);
  timer = setTimeout(refresh, wait);
}

async function refresh() {
  [isRefreshing, isWanted, refreshedAt] = [true, false, Date.now()];
  let isReached = true;
  try {
    const response = await fetch(location.href, { headers: { accept: 'text/html' }, signal: AbortSignal.timeout(20_000) });
    const page = new DOMParser().parseFromString(await response.text(), 'text/html');
    if (response.redirected && new URL(response.url).pathname === '/login') {
      lost('You are no longer logged in. Load the page again to log in.');
    } else if (response.ok) {
      show(page);
      found();
    } else {
      const detail = page.querySelector('#problem p')?.textContent ?? `the gateway answers with status ${response.status}`;
      lost(`The page shows how things were before: ${detail}`);
    }
  } catch {
    lost('The connection to the gateway is lost. The page goes on by itself once it is back.');
    isReached = false;
  }
  isRefreshing = false;
  refreshSoon(isWanted ? 0 : isReached ? usually() : AGAIN_AFTER);
}

/** After which time the page is asked for again if nothing happens. */
function usually() {
  if (main.dataset.follow !== 'job') return LIST_EVERY;
  return ['unsealed', 'running', 'paused'].includes(main.dataset.state) ? JOB_EVERY : ENDED_JOB_EVERY;
}

/** Replaces what is live by what is in a newer page. */
function show(page) {
  const newer = page.getElementById('main');
  localise(newer);
  const states = statesOf(main);
  for (const region of main.querySelectorAll('[data-live][id]')) {
    const replacement = newer.querySelector(`#${CSS.escape(region.id)}`);
    if (replacement) morph(region, replacement);
  }
  for (const name of ['state', 'lastEvent']) {
    if (newer.dataset[name] !== undefined) main.dataset[name] = newer.dataset[name];
  }
  document.title = page.title;
  announce(states, statesOf(main));
}

/** The states that are shown, by the names of their jobs. */
function statesOf(part) {
  const named = [...part.querySelectorAll('[data-name]')].map(({ dataset }) => [dataset.name, dataset.state]);
  return new Map(part.dataset.job ? [[part.dataset.job, part.dataset.state]] : named);
}

/** Tells screen readers which jobs have another state, and nothing else: numbers change all the time. */
function announce(before, now) {
  const changed = [...now].filter(([job, state]) => before.has(job) && before.get(job) !== state);
  if (changed.length > 0) announcement.textContent = changed.map(([job, state]) => `Job ${job} is now ${state}.`).join(' ');
}

function lost(words) {
  if (connection.textContent !== words) connection.textContent = words;
  connection.hidden = false;
}

function found() {
  connection.hidden = true;
  connection.textContent = '';
  if (main.dataset.follow === 'job' && events?.readyState === EventSource.CLOSED) follow();
}

/** Follows the events of the job behind the last one that is shown. The browser connects again by itself. */
function follow() {
  events?.close();
  const last = lastEvent ?? main.dataset.lastEvent;
  const from = last === undefined ? '' : `?last_event_id=${last}`;
  events = new EventSource(`/v1/jobs/${main.dataset.job}/events${from}`);
  const onEvent = ({ lastEventId }) => {
    lastEvent = lastEventId;
    refreshSoon();
  };
  for (const name of EVENTS) events.addEventListener(name, onEvent);
  // Whether the gateway is away, or only this stream was cut, shows when the page is asked for.
  events.addEventListener('error', () => refreshSoon());
}

/** Shows times by the clock of whoever looks, and keeps the exact one at hand. */
function localise(part) {
  const day = { day: 'numeric', month: 'short', hour: 'numeric', minute: '2-digit', second: '2-digit' };
  const [thisYear, otherYear] = [day, { ...day, year: 'numeric' }].map((style) => new Intl.DateTimeFormat(undefined, style));
  for (const time of part.querySelectorAll('time[datetime]')) {
    const at = new Date(time.dateTime);
    if (Number.isNaN(at.getTime())) continue;
    time.title = time.textContent;
    time.textContent = (at.getFullYear() === new Date().getFullYear() ? thisYear : otherYear).format(at);
  }
}

/** A browser allows few connections to a gateway: tabs that nobody looks at leave theirs to others. */
function onVisibility() {
  if (document.hidden) {
    clearTimeout(timer);
    events?.close();
    events = null;
    return;
  }
  if (main.dataset.follow === 'job') follow();
  refreshSoon();
}

localise(document);
// A form that is sent twice would do twice what it does.
document.addEventListener('submit', ({ target, defaultPrevented }) => {
  if (defaultPrevented || target.method !== 'post') return;
  isLeaving = true;
  setTimeout(() => target.querySelectorAll('button').forEach((button) => { button.disabled = true; }));
});
// Whoever comes back to a page finds its buttons as they were.
window.addEventListener('pageshow', ({ persisted }) => {
  document.querySelectorAll('button:disabled').forEach((button) => { button.disabled = false; });
  isLeaving = false;
  if (persisted && main?.dataset.follow) onVisibility();
});

if (main?.dataset.follow) {
  if (main.dataset.follow === 'job' && !document.hidden) follow();
  document.addEventListener('visibilitychange', onVisibility);
  window.addEventListener('online', () => refreshSoon());
  refreshSoon(usually());
}
