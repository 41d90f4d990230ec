// A headless Chromium for the tests of the page: who looks, what they see, and whether everyone can use it.
import { ok, deepEqual } from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import path from 'node:path';

const installed = createRequire(new URL('../../../.rollcall/gateway-tests/browser/', import.meta.url));
const { chromium } = installed('playwright-core');
const axe = installed('axe-core');

const set = (name) => process.env[name] ?? fail(`expected ${name} to be set, found nothing; tests/gateway/browser/run sets it`);
const fail = (words) => { throw new Error(words); };

export const url = set('ROLLCALL_PAGE_URL');
export const model = set('ROLLCALL_PAGE_MODEL');
export const tokens = { operator: set('ROLLCALL_PAGE_TOKEN'), viewer: set('ROLLCALL_PAGE_VIEWER_TOKEN') };

/** Stops or starts the gateway. */
export const gateway = (action) => execFileSync('sh', ['-c', set(`ROLLCALL_PAGE_${action.toUpperCase()}`)], { stdio: 'inherit' });

// A loaded machine is slow, and a test that waits for what never comes should end all the same.
const PATIENCE = 30_000;

// Profiles, caches and crash reports go here: a killed browser would leave them.
const home = mkdtempSync(path.join(tmpdir(), 'rollcall-page-'));
let browser;

export async function launch() {
  process.env.HOME = process.env.TMPDIR = home;
  // Besides Playwright's own, which keep Chromium from updates, from reports and from first-run pages.
  browser = await chromium.launch({ executablePath: '/usr/bin/chromium', args: ['--disable-gpu', '--disable-quic'] });
}

export async function quit() {
  await browser?.close();
  rmSync(home, { recursive: true, force: true, maxRetries: 5 });
}

/** Opens a browser for somebody who is logged in (`as`), or not, and passes it to `look`. Afterwards, no error may have been reported but
 * `expected` ones. */
export async function withPage({ as = 'operator', expected = null, ...options }, look) {
  const context = await browser.newContext({ viewport: { width: 1280, height: 900 }, reducedMotion: 'reduce', timezoneId: 'Europe/Berlin', locale: 'en-GB', ...options });
  const errors = [];
  context.setDefaultTimeout(PATIENCE);
  try {
    const page = await context.newPage();
    page.on('pageerror', (error) => errors.push(error.message));
    page.on('console', (message) => message.type() === 'error' && errors.push(message.text()));
    page.on('dialog', (dialog) => { errors.push(`a dialog: ${dialog.message()}`); dialog.dismiss(); });
    if (as) await logIn(page, tokens[as]);
    await look(page);
  } finally {
    await context.close();
  }
  deepEqual(errors.filter((error) => !expected?.test(error)), [], 'errors in the browser');
}

export async function logIn(page, token) {
  await page.goto(`${url}/login`);
  await page.getByLabel('Token').fill(token);
  await page.getByRole('button', { name: 'Log in' }).click();
  await page.waitForURL(`${url}/`);
}

/** Waits until an element with this text is shown. */
export const shows = (page, selector, text) => page.locator(selector, { hasText: text }).first().waitFor();

/** Waits until the page's script or its server has made `condition` true, which is a function of the page. */
export const until = (page, condition, argument) => page.waitForFunction(condition, argument, { timeout: PATIENCE });

/** What keeps people from using the page, by axe-core; and nothing may be wider than the screen. */
export async function isForEveryone(page) {
  // Evaluated and not added as a script, which the Content-Security-Policy forbids.
  await page.evaluate(axe.source);
  const { violations } = await page.evaluate(() => globalThis.axe.run());
  deepEqual(violations.map(({ id, nodes }) => `${id}: ${nodes.map(({ target }) => target.join(' ')).join(', ')}`), [], page.url());
  const beyond = await page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth);
  ok(beyond <= 0, `${page.url()} is ${beyond} pixels wider than the screen`);
}

const screenshots = process.env.ROLLCALL_PAGE_SCREENSHOTS;

/** Takes a screenshot, if a folder for them is given. */
export async function screenshot(page, name) {
  if (screenshots) await page.screenshot({ path: path.join(screenshots, `${name}.png`), fullPage: true });
}
