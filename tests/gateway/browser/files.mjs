// Files of companies for the tests of the page, and the form that sends them.
import { model } from './browser.mjs';

/** So many companies, each of which takes `ms` to score and fails for what `cause` says of its number. */
export function companies(count, ms = 0, cause = () => '') {
  const rows = Array.from({ length: count }, (_, at) => `c${at},Company ${at},${ms},${cause(at)}`);
  return `company_id,name,ms,cause\n${rows.join('\n')}\n`;
}

/** The third row has a field too many, and the fifth an id that was there before. */
export const withBadRows = `${companies(2)}c2,Company 2,0,,beyond\nc3,Company 3,0,\nc1,Company 1,0,\n`;

/** Fills in the form on the list of jobs. */
export async function fillIn(page, name, contents, options = {}) {
  await page.getByLabel('Model', { exact: true }).last().fill(model);
  if (Object.keys(options).length > 0) await page.locator('#options > summary').click();
  for (const [label, value] of Object.entries(options)) await page.getByLabel(label).fill(value);
  await page.locator('#file').setInputFiles({ name, mimeType: 'text/csv', buffer: Buffer.from(contents) });
}

/** Enqueues a file as a job of this name, and waits for its page. */
export async function enqueue(page, job, contents) {
  await page.goto('/');
  await fillIn(page, `${job}.csv`, contents, { 'Job name': job });
  await page.locator('#upload').getByRole('button', { name: 'Enqueue' }).click();
  await page.waitForURL(`**/jobs/${job}`);
}
