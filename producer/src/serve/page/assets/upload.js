// Sends the form with the file in the background: it shows how much has been sent, and the file stays chosen after a check.

const form = document.getElementById('upload');
const state = document.getElementById('upload-state');
const result = document.getElementById('upload-result');

function send(path) {
  const buttons = [...form.querySelectorAll('button')];
  const request = new XMLHttpRequest();
  const bar = document.createElement('progress');
  const words = document.createElement('p');
  state.replaceChildren(words, bar);
  result.replaceChildren();
  bar.setAttribute('aria-label', 'sent');
  words.textContent = 'Sending the file …';
  const set = (isDisabled) => buttons.forEach((button) => { button.disabled = isDisabled; });
  set(true);
  request.open('POST', path);
  request.setRequestHeader('accept', 'text/html');
  request.responseType = 'document';
  request.upload.addEventListener('progress', ({ loaded, total, lengthComputable }) => {
    if (!lengthComputable) return;
    [bar.max, bar.value] = [total, loaded];
    if (loaded === total) words.textContent = path === '/check' ? 'Checking the rest …' : 'Enqueueing the rest …';
  });
  request.addEventListener('load', () => {
    const { pathname } = new URL(request.responseURL);
    if (request.status < 400 && pathname !== path) {
      location.assign(request.responseURL);
      return;
    }
    set(false);
    state.replaceChildren();
    show(request.response?.querySelector('#checked, #problem'), `The gateway answers with status ${request.status}.`);
  });
  const failed = () => {
    set(false);
    state.replaceChildren();
    show(null, 'The connection to the gateway was lost before the whole file was sent. Send it again.');
  };
  request.addEventListener('error', failed);
  request.addEventListener('abort', failed);
  request.send(new FormData(form));
}

function show(found, otherwise) {
  const shown = found ? document.importNode(found, true) : document.createElement('p');
  if (!found) {
    shown.className = 'note warning';
    shown.textContent = otherwise;
  }
  shown.classList.remove('card');
  // Within the form it is no title of the page.
  for (const title of shown.querySelectorAll('h1, h2')) {
    const heading = document.createElement('h3');
    heading.replaceChildren(...title.childNodes);
    heading.id = title.id;
    title.replaceWith(heading);
  }
  shown.querySelectorAll('.actions').forEach((actions) => actions.remove());
  result.replaceChildren(shown);
  shown.tabIndex = -1;
  shown.focus();
}

form?.addEventListener('submit', (event) => {
  event.preventDefault();
  send(event.submitter?.getAttribute('formaction') ?? form.getAttribute('action'));
});
