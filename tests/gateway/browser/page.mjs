// Uses the gateway's page as people do, and checks what they see. tests/gateway/browser/run starts what this needs and runs it.
import { deepEqual, equal, match, ok } from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { gateway, isForEveryone, launch, logIn, quit, screenshot, shows, tokens, until, url, withPage } from './browser.mjs';
import { companies, enqueue, fillIn, withBadRows } from './files.mjs';

before(launch);
after(quit);

// Jobs of an earlier run on the same broker have other names.
const run = Date.now().toString(36);
const named = (name) => `${name}-${run}`;
const here = { baseURL: url };
const state = (page) => page.evaluate(() => document.getElementById('main').dataset.state);
const reaches = (page, wanted) => until(page, (wanted) => document.getElementById('main').dataset.state === wanted, wanted);
const counted = (page) => page.locator('#progress progress').evaluate((bar) => bar.value);
const button = (page, name) => page.getByRole('button', { name, exact: true });

test('a page that needs a login leads to it and back', async () => {
  await withPage({ ...here, as: null, expected: /status of 40[34]/ }, async (page) => {
    await page.goto('/jobs/none');
    await isForEveryone(page);
    await screenshot(page, 'login');
    await page.getByLabel('Token').fill('a token that nobody has');
    await button(page, 'Log in').click();
    await shows(page, '[role=alert]', 'Expected a known token');
    await isForEveryone(page);
    await page.getByLabel('Token').fill(tokens.operator);
    await button(page, 'Log in').click();
    await page.waitForURL('**/jobs/none');
    await shows(page, '#problem', 'expected a job in the ledger, found none');
    await isForEveryone(page);
    await page.getByRole('link', { name: 'Back to the jobs' }).click();
    await button(page, 'Log out').click();
    await page.waitForURL('**/login');
  });
});

test('a check lists the bad rows, enqueues nothing, and leaves the file chosen', async () => {
  await withPage(here, async (page) => {
    const job = named('checked');
    await page.goto('/');
    await fillIn(page, 'bad.csv', withBadRows, { 'Job name': job });
    await button(page, 'Check').click();
    await shows(page, '#checked', '2 bad rows');
    const rows = await page.locator('.bad-rows > li').allTextContents();
    match(rows[0], /row 3 \(line 4\).*expected 4 fields, found 5/);
    match(rows[1], /row 5 \(line 6\), field "company_id".*expected/);
    await isForEveryone(page);
    await screenshot(page, 'check');
    equal(await page.locator('#file').evaluate((file) => file.files[0].name), 'bad.csv');
    equal((await page.request.get(`/v1/jobs/${job}`)).status(), 404);
    await page.locator('#file').setInputFiles({ name: 'good.csv', mimeType: 'text/csv', buffer: Buffer.from(companies(10)) });
    await button(page, 'Check').click();
    await shows(page, '#checked', 'This file can be enqueued: 10 companies');
    await button(page, 'Enqueue').click();
    await page.waitForURL(`**/jobs/${job}`);
    await reaches(page, 'succeeded');
  });
});

test('an upload that is refused says why where it was sent', async () => {
  await withPage({ ...here, expected: /status of 4\d\d/ }, async (page) => {
    await page.goto('/');
    // So large that the gateway answers before it has all of it.
    await fillIn(page, 'large.csv', companies(600_000), { 'Tolerated failures': 'many' });
    await button(page, 'Enqueue').click();
    await shows(page, '#upload-result', 'found "many"');
    await page.getByLabel('Tolerated failures').fill('');
    await page.locator('#file').setInputFiles({ name: 'bad.csv', mimeType: 'text/csv', buffer: Buffer.from(withBadRows) });
    await button(page, 'Enqueue').click();
    await shows(page, '#upload-result', 'expected 4 fields, found 5');
    await isForEveryone(page);
  });
});

test('a job is followed to its end without loading the page again, and redriven by cause', async () => {
  await withPage(here, async (page) => {
    const job = named('live');
    await enqueue(page, job, companies(1_500, 4, (at) => (at % 50 === 0 ? 'no_price' : at % 120 === 7 ? 'closed' : '')));
    await page.evaluate(() => { globalThis.loaded = 'once'; });
    await until(page, () => document.querySelectorAll('#rate svg path').length === 2 && document.querySelector('#progress progress').value > 300);
    const words = await page.locator('#progress').innerText();
    match(words, /time left/);
    await isForEveryone(page);
    await screenshot(page, 'job-running');
    await reaches(page, 'failed');
    equal(await counted(page), 1_500);
    equal(await page.evaluate(() => globalThis.loaded), 'once');
    await shows(page, '#announcement', `Job ${job} is now failed.`);
    await shows(page, '#events', 'ended as failed');
    await isForEveryone(page);
    await screenshot(page, 'job-failed');

    await page.getByRole('link', { name: 'Show examples' }).click();
    await shows(page, 'section', 'expected a price of Company 0, found none');
    await isForEveryone(page);
    await screenshot(page, 'failures');
    await page.getByRole('link', { name: 'Back to the job' }).click();

    await page.locator('.causes > li', { hasText: 'no_price' }).getByRole('button').click();
    await until(page, () => document.querySelector('.causes')?.textContent.includes('no_price') === false);
    await reaches(page, 'failed');
    await shows(page, '#events', 'redrive 1: 30 companies enqueued once more');
    await page.getByRole('button', { name: 'Redrive all that failed' }).click();
    await reaches(page, 'succeeded');
    await shows(page, '#failures', 'No company has failed.');

    const csv = await page.request.get(await page.getByRole('link', { name: 'CSV' }).getAttribute('href'));
    equal((await csv.text()).trim().split('\n').length, 1_501);
  });
});

test('a job is paused, resumed and cancelled, and waits in the list meanwhile', async () => {
  await withPage(here, async (page) => {
    const job = named('paused');
    await enqueue(page, job, companies(3_000, 5));
    await until(page, () => document.querySelector('#progress progress').value > 0);
    await button(page, 'Pause').click();
    await shows(page, '#title .state', 'paused');
    await shows(page, '#progress', 'nothing of it is scored, and nothing is lost');
    await isForEveryone(page);
    await page.goto('/');
    await shows(page, `section:has(#waiting-title) #job-${job}`, 'Paused until it is resumed.');
    await isForEveryone(page);
    await page.getByRole('link', { name: job }).click();
    await button(page, 'Resume').click();
    await reaches(page, 'running');
    await page.locator('#cancel > summary').click();
    await button(page, 'Cancel the job').click();
    await reaches(page, 'cancelled');
    await shows(page, '#missing', 'not scored');
    await isForEveryone(page);
  });
});

test('the page says that the gateway is away, and goes on once it is back, where whoever reads it was', async () => {
  await withPage({ ...here, viewport: { width: 1280, height: 500 }, expected: /ERR_|Failed to load/ }, async (page) => {
    const job = named('restart');
    await enqueue(page, job, companies(3_000, 5));
    await until(page, () => document.querySelector('#progress progress').value > 0);
    await page.evaluate(() => { globalThis.loaded = 'once'; });
    await page.locator('#cancel > summary').click();
    await page.keyboard.press('Tab');
    const focused = () => page.evaluate(() => document.activeElement.textContent);
    equal(await focused(), 'Cancel the job');
    const scrolled = await page.evaluate(() => { scrollTo(0, 200); return scrollY; });
    ok(scrolled > 0);
    gateway('stop');
    await shows(page, '#connection', 'The connection to the gateway is lost');
    const before = await counted(page);
    const followed = page.waitForResponse((response) => response.url().includes('/events?last_event_id='));
    gateway('start');
    await page.locator('#connection').waitFor({ state: 'hidden' });
    await until(page, (before) => document.querySelector('#progress progress').value > before, before);
    deepEqual([await focused(), await page.evaluate(() => [globalThis.loaded, scrollY])], ['Cancel the job', ['once', scrolled]]);
    // By the events, and not only because the page is asked for every few seconds.
    equal((await followed).status(), 200);
    await button(page, 'Cancel the job').click();
    await reaches(page, 'cancelled');
  });
});

test('what scorers say is text on every page', async () => {
  await withPage(here, async (page) => {
    const job = named('hostile');
    await enqueue(page, job, companies(30, 0, (at) => (at % 3 === 0 ? 'hostile' : '')));
    await reaches(page, 'failed');
    await shows(page, '.cause', 'img_src_x_onerror');
    await isForEveryone(page);
    await page.goto(`/jobs/${job}/failures`);
    await shows(page, 'td', '</td><script>alert(1)</script>');
    await isForEveryone(page);
  });
});

test('whoever may only look sees nothing that they may not press', async () => {
  await withPage({ ...here, as: 'viewer' }, async (page) => {
    for (const path of ['/', `/jobs/${named('hostile')}`, `/jobs/${named('hostile')}/failures`]) {
      await page.goto(path);
      deepEqual(await page.locator('main form').evaluateAll((forms) => forms.map((form) => form.method).filter((method) => method !== 'get')), []);
      await isForEveryone(page);
    }
    equal((await page.request.post(`/jobs/${named('hostile')}/redrive`, { form: {} })).status(), 403);
  });
});

test('with the keyboard alone, every control is reached, named and seen', async () => {
  await withPage(here, async (page) => {
    await page.goto('/');
    await page.keyboard.press('Tab');
    equal(await page.evaluate(() => document.activeElement.textContent), 'Skip to the contents');
    const stops = [];
    for (let stop; (stop = await page.evaluate(describe)) !== null && stops.length < 200; await page.keyboard.press('Tab')) stops.push(stop);
    const names = stops.map(({ name }) => name);
    for (const name of ['Rollcall', 'Log out', 'Filter', 'Options', 'Enqueue', 'Check']) ok(names.includes(name), `${name} is among ${names}`);
    deepEqual(stops.filter(({ name, isSeen }) => !name || !isSeen), []);
    await page.locator('#options > summary').focus();
    await page.keyboard.press('Enter');
    await page.locator('#job').waitFor();
  });
});

/** What has the focus, and whether that can be seen; null once it is the page as such. */
function describe() {
  const { activeElement: element } = document;
  if (element === document.body) return null;
  const { outlineStyle, outlineWidth } = getComputedStyle(element);
  const name = element.labels?.[0]?.textContent ?? element.textContent;
  return { name: name.trim(), isSeen: outlineStyle !== 'none' && parseFloat(outlineWidth) >= 2 };
}

for (const [name, options] of [
  ['on a phone', { viewport: { width: 360, height: 740 }, hasTouch: true, isMobile: true }],
  ['in the dark', { colorScheme: 'dark' }],
  ['on a phone in the dark', { viewport: { width: 360, height: 740 }, hasTouch: true, isMobile: true, colorScheme: 'dark' }],
]) {
  test(`every page can be read ${name}`, async () => {
    await withPage({ ...here, ...options, expected: /status of 404/ }, async (page) => {
      const pages = { jobs: '/', job: `/jobs/${named('hostile')}`, live: `/jobs/${named('live')}`, failures: `/jobs/${named('hostile')}/failures`, problem: '/none' };
      for (const [of, path] of Object.entries(pages)) {
        await page.goto(path);
        await isForEveryone(page);
        await screenshot(page, `${of}-${name.replaceAll(' ', '-')}`);
      }
    });
  });
}

test('everything works without JavaScript', async () => {
  await withPage({ ...here, javaScriptEnabled: false }, async (page) => {
    const job = named('plain');
    await page.goto('/');
    await shows(page, 'noscript p, p.banner', 'Without JavaScript');
    await fillIn(page, 'bad.csv', withBadRows);
    await button(page, 'Check').click();
    await shows(page, '#checked', '2 bad rows');
    await enqueue(page, job, companies(2_000, 5));
    await button(page, 'Pause').click();
    await shows(page, '#title .state', 'paused');
    await button(page, 'Resume').click();
    await shows(page, '#title .state', 'running');
    await page.locator('#cancel > summary').click();
    await button(page, 'Cancel the job').click();
    await shows(page, '#title .state', 'cancelled');
  });
});

test('the list of jobs has a page of older ones and a filter', async () => {
  await withPage(here, async (page) => {
    await page.goto('/');
    await screenshot(page, 'jobs');
    await page.getByLabel('State').selectOption('cancelled');
    await button(page, 'Filter').click();
    await page.waitForURL('**/?state=cancelled&model=');
    deepEqual(await page.locator('main tbody .state').allTextContents().then((states) => [...new Set(states)]), ['cancelled']);
    await isForEveryone(page);
  });
});
