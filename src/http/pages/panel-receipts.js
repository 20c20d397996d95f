// --- Receipts: that the handoff was really on a screen, and that the agent says so

// `told` holds what Baton has been told, each once for a handoff and a task.
const receipts = { onScreen: false, told: new Set(), busy: false };
const retry = new Bell();

// Unlike the document's visibility, this sees that a frame is scrolled away or cut off.
const observer = new IntersectionObserver((entries) => {
  receipts.onScreen = entries.at(-1).intersectionRatio >= 0.5;
  if (receipts.onScreen) tellRendered();
}, { threshold: [0, 0.5, 1] });

const watchForRendering = (element) => observer.observe(element);

function unwatch() {
  observer.disconnect();
  receipts.onScreen = false;
}

const isOnScreen = () => shown !== undefined && receipts.onScreen && document.visibilityState === 'visible';
const aFrame = () => new Promise((done) => { requestAnimationFrame(done); });
const receiptKey = (receipt) => `${receipt} ${shown.view.id} ${door.taskSid}`;

// Whether it is settled: Baton knows it, or refuses to.
async function send(receipt) {
  const key = receiptKey(receipt);
  const body = { receipt, ...(door.taskSid && { task_sid: door.taskSid }) };
  const { status, retryMs } = await ask('v1/handoff_state/receipts', {}, { method: 'POST', body })
    .catch(() => ({ status: 0, retryMs: 0 }));
  const isSettled = status !== 0 && status !== 401 && !isPassing(status);
  if (isSettled) receipts.told.add(key);
  return { isTold: status === 200, isSettled, retryMs };
}

// Tried again until it is told, while it is seen.
async function tellRendered() {
  if (receipts.busy) return;
  receipts.busy = true;
  for (let failures = 1; isOnScreen() && !receipts.told.has(receiptKey('rendered')); failures += 1) {
    await aFrame();
    await aFrame();
    if (!isOnScreen()) break;
    const { isSettled, retryMs } = await send('rendered');
    if (!isSettled) await retry.wait(patience(failures, retryMs));
  }
  receipts.busy = false;
}

async function acknowledge() {
  const { read } = shown.parts;
  if (read.getAttribute('aria-disabled') === 'true') return;
  read.setAttribute('aria-disabled', 'true');
  write(read, 'Sending');
  const { isTold } = await send('acknowledged');
  if (isTold) {
    read.replaceChildren('Read at ', time(new Date()));
  } else {
    read.removeAttribute('aria-disabled');
    write(read, 'Not sent. Try again');
  }
  say(read.textContent);
}
