/** How often a request is tried again before a person is asked. */
export const MOST_RETRIES = 10;

const FIRST_MS = 100;
const LONGEST_MS = 3000;
const LONGEST_ASKED_FOR_MS = 60_000;

/** How long to wait before try number `retry`, and at least as long as the server asks for. */
export function backoff(retry: number, retryAfterSeconds = 0): number {
  const most = Math.min(LONGEST_MS, FIRST_MS * 2 ** (retry - 1));
  // By chance, or all agents come back at the same moment.
  const own = most / 2 + Math.random() * (most / 2);
  return Math.max(own, Math.min(retryAfterSeconds * 1000, LONGEST_ASKED_FOR_MS));
}

/** Waits, unless it is aborted. */
export function pause(ms: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const end = () => {
      clearTimeout(timer);
      signal.removeEventListener('abort', end);
      resolve();
    };
    const timer = setTimeout(end, ms);
    signal.addEventListener('abort', end);
    if (signal.aborted) end();
  });
}

/** Waits until somebody can see the page, unless it is aborted. */
export function untilSeen(signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const look = () => {
      if (document.visibilityState !== 'visible' && !signal.aborted) return;
      document.removeEventListener('visibilitychange', look);
      signal.removeEventListener('abort', look);
      resolve();
    };
    document.addEventListener('visibilitychange', look);
    signal.addEventListener('abort', look);
    look();
  });
}
