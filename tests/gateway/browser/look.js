// Opens a page in a headless Chromium, takes a screenshot, and prints what axe-core finds that keeps people from using the page:
//
//   node tests/gateway/browser/look.js URL SCREENSHOT.png
//
// One JSON document with the page's title, its errors and axe's violations. The exit code is 1 if there are any, and 2 if there is no page.
// tests/gateway/install installs what this needs.
const path = require('node:path');
const installed = require('node:module').createRequire(path.join(__dirname, '../../../.rollcall/gateway-tests/browser/'));
const { chromium } = installed('playwright-core');
const axe = installed('axe-core');

// Besides Playwright's own, which keep Chromium from updates, from reports and from first-run pages.
const args = ['--disable-gpu', '--disable-quic'];

async function look(url, screenshot) {
  // Profiles, caches and crash reports go where the screenshot does, whose owner removes the folder: a killed browser would leave them.
  process.env.HOME = process.env.TMPDIR = path.dirname(path.resolve(screenshot));
  const browser = await chromium.launch({ executablePath: '/usr/bin/chromium', args });
  try {
    const page = await browser.newPage();
    const errors = [];
    page.on('pageerror', (error) => errors.push(error.message));
    page.on('console', (message) => message.type() === 'error' && errors.push(message.text()));
    // Not until the network is idle: a stream of events never is.
    await page.goto(url, { waitUntil: 'load', timeout: 30_000 });
    await page.screenshot({ path: screenshot, fullPage: true });
    // Evaluated and not added as a script, which a Content-Security-Policy forbids.
    await page.evaluate(axe.source);
    const { violations } = await page.evaluate(() => axe.run());
    const found = violations.map(({ id, impact, help, nodes }) => ({ id, impact, help, at: nodes.map(({ target }) => target.join(' ')) }));
    console.log(JSON.stringify({ title: await page.title(), errors, violations: found }));
    process.exitCode = errors.length || found.length ? 1 : 0;
  } finally {
    await browser.close();
  }
}

look(...process.argv.slice(2)).catch((error) => {
  console.error(`look.js: ${error.message.split('\n')[0]}`);
  process.exit(2);
});
