// What Baton is asked, and what it answers. Nothing here keeps or logs an answer.

import type { Manager } from '@twilio/flex-ui';

import { BATON_URL } from './config';
import { MOST_RETRIES, backoff, pause } from './wait';

/** A member of an object, or an element of an array under its place. Numbers are as they were written. */
export interface Field {
  name: string;
  kind: 'object' | 'array' | 'string' | 'number' | 'boolean' | 'null';
  text?: string;
  fields?: Field[];
}

/** A handoff, as `GET /v1/handoff_state/view` answers it. */
export interface View {
  id: string;
  client_env: string | null;
  status: 'ready' | 'contained' | 'failed';
  revision: number;
  written_at: string;
  now: string;
  caller: { name: string; phone: string; verified: 'true' | 'false' | 'unknown' };
  why: { reason: string; summary: string; destination: string; priority: number; language: string };
  tried: string[];
  fields: Field[];
  fields_left_out: number;
}

/** Why there is no answer. `status` is 0 when the network gave none. */
export interface Problem {
  status: number;
  code: string;
  message: string;
  errorId: string;
  retryAfter: number;
}

/** An answer, no news, or neither. */
export type Answer<T> = { value: T; etag: string } | { unchanged: true } | { problem: Problem };

export type Receipt = 'rendered' | 'accepted';

interface Ask {
  method?: string;
  body?: unknown;
  etag?: string;
  signal: AbortSignal;
  onTrouble?: (problem: Problem) => void;
  isWorthRetrying?: (problem: Problem) => boolean;
}

// Baton waits 8 seconds at most, and then it still answers.
const TIMEOUT_MS = 20_000;
const PASSING = [0, 429, 502, 503, 504];

export const passes = ({ status }: Problem): boolean => PASSING.includes(status);

export class Baton {
  constructor(private readonly manager: Manager) {}

  /** Flex's own credentials, as they are now: Flex renews the token, so a kept one grows stale. */
  credentials(): { token: string; accountSid: string } {
    const { manager } = this;
    const session = () => manager.store.getState().flex.session.ssoTokenPayload;
    return {
      token: first(() => session()?.token, () => manager.user.token),
      accountSid: first(() => session()?.accountSid, () => manager.serviceConfiguration.account_sid),
    };
  }

  /** The handoff, waiting for one, or for a newer one than `known`. */
  view(id: string, known: View | undefined, ask: Ask): Promise<Answer<View>> {
    const newer = known ? `&min_revision=${known.revision + 1}` : '';
    return this.ask(`/view?id=${encodeURIComponent(id)}&wait=8${newer}`, ask);
  }

  /** Tells how far the handoff has come with the agent. */
  receipt(id: string, receipt: Receipt, taskSid: string, ask: Ask): Promise<Answer<unknown>> {
    const body = { receipt, task_sid: taskSid };
    return this.ask(`/receipts?id=${encodeURIComponent(id)}`, { ...ask, method: 'POST', body });
  }

  // Tries again what may pass.
  private async ask<T>(path: string, ask: Ask): Promise<Answer<T>> {
    const { signal, onTrouble, isWorthRetrying = passes } = ask;
    for (let retry = 1; ; retry += 1) {
      const answer = await this.askOnce<T>(path, ask);
      if (!('problem' in answer) || signal.aborted) return answer;
      if (retry > MOST_RETRIES || !isWorthRetrying(answer.problem)) return answer;
      onTrouble?.(answer.problem);
      await pause(backoff(retry, answer.problem.retryAfter), signal);
    }
  }

  private async askOnce<T>(path: string, { method, body, etag, signal }: Ask): Promise<Answer<T>> {
    const { token, accountSid } = this.credentials();
    const headers: Record<string, string> = {
      authorization: `Bearer ${token}`,
      'x-twilio-account-sid': accountSid,
    };
    if (etag) headers['if-none-match'] = etag;
    if (body) headers['content-type'] = 'application/json';
    const aborting = new AbortController();
    const abort = () => aborting.abort();
    const timer = setTimeout(abort, TIMEOUT_MS);
    signal.addEventListener('abort', abort);
    if (signal.aborted) abort();
    try {
      const response = await fetch(`${BATON_URL}/v1/handoff_state${path}`, {
        method,
        headers,
        body: body ? JSON.stringify(body) : undefined,
        cache: 'no-store',
        credentials: 'omit',
        referrerPolicy: 'no-referrer',
        signal: aborting.signal,
      });
      return await read<T>(response);
    } catch {
      return { problem: { status: 0, code: 'NOT_REACHED', message: '', errorId: '', retryAfter: 0 } };
    } finally {
      clearTimeout(timer);
      signal.removeEventListener('abort', abort);
    }
  }
}

// Some of Flex's getters throw before there is anything to get.
function first(...getters: Array<() => string | undefined>): string {
  for (const get of getters) {
    try {
      const text = get();
      if (text) return text;
    } catch {
      // The next one may know.
    }
  }
  return '';
}

async function read<T>(response: Response): Promise<Answer<T>> {
  const { status, headers } = response;
  if (status === 304) return { unchanged: true };
  const text = await response.text();
  const json = parsed(text);
  if (response.ok && json) return { value: json as T, etag: headers.get('etag') ?? '' };
  const retryAfter = Number(headers.get('retry-after')) || 0;
  const { error_code: code = 'NOT_BATON', error_message: message = '', error_id: errorId = '' } = json ?? {};
  return { problem: { status, code, message, errorId, retryAfter } };
}

// Anything may stand at a wrong address, or between Flex and Baton.
function parsed(text: string): any {
  try {
    const json = JSON.parse(text);
    return typeof json === 'object' ? json : null;
  } catch {
    return null;
  }
}
