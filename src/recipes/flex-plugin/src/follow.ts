import type { Answer, Baton, Problem, View } from './baton';
import { passes } from './baton';
import { pause, untilSeen } from './wait';

/** What is known of a task's handoff. */
export interface Known {
  /**
   * `looking`: nobody knows yet. `none`: not written so far. `there`: `view` is it. `expired`, `erased`: it was
   * there once. `refused`: `problem` says why, and asking again alone does not help.
   */
  is: 'looking' | 'none' | 'there' | 'expired' | 'erased' | 'refused';
  view?: View;
  /** It was not there yet when this began to look. */
  isLate?: boolean;
  /** It was written anew since this began to look. */
  isUpdated?: boolean;
  /** What is wrong at the moment. */
  problem?: Problem;
  /** It has been tried often enough. */
  hasGivenUp?: boolean;
}

// Never more than one request in so long, should Baton answer without waiting.
const SHORTEST_MS = 1000;

/** Tells each change of what is known of a handoff, until it is aborted or nothing more can come. */
export async function follow(
  baton: Baton,
  id: string,
  start: Known,
  tell: (known: Known) => void,
  signal: AbortSignal,
): Promise<void> {
  const began = performance.now();
  let known = start;
  let etag = '';

  const say = (next: Known) => {
    // What comes too late belongs to a task that is not on the screen any more.
    if (signal.aborted) return;
    known = next;
    tell(known);
  };

  function there(view: View): Known {
    const age = Date.parse(view.now) - Date.parse(view.written_at);
    const isLate = known.view ? known.isLate : age < performance.now() - began;
    const isNewer = known.view !== undefined && known.view.revision !== view.revision;
    return { is: 'there', view, isLate, isUpdated: isNewer || known.isUpdated };
  }

  // Whether more can come.
  function refused(problem: Problem): boolean {
    if (passes(problem)) {
      say({ ...known, problem, hasGivenUp: true });
      return false;
    }
    etag = '';
    if (problem.code === 'HANDOFF_NOT_FOUND') say({ is: 'none' });
    else if (problem.code === 'HANDOFF_EXPIRED') say({ is: 'expired' });
    else if (problem.code === 'HANDOFF_ERASED') say({ is: 'erased' });
    // Who may not read it sees it no longer, but for a token that has just run out.
    else say({ is: 'refused', view: problem.status === 401 ? known.view : undefined, problem });
    return problem.status === 401 || known.is === 'none';
  }

  function take(answer: Answer<View>): boolean {
    if ('problem' in answer) return refused(answer.problem);
    if ('value' in answer) {
      etag = answer.etag;
      say(there(answer.value));
    } else if (known.problem) {
      say({ ...known, problem: undefined });
    }
    return true;
  }

  while (!signal.aborted) {
    const asked = performance.now();
    const { token } = baton.credentials();
    const onTrouble = (problem: Problem) => say({ ...known, problem });
    if (!take(await baton.view(id, known.view, { etag, signal, onTrouble }))) return;
    // Flex renews its token by itself, and then all may be well.
    const isToken = () => baton.credentials().token === token;
    while (known.is === 'refused' && isToken() && !signal.aborted) await pause(SHORTEST_MS, signal);
    await pause(asked + SHORTEST_MS - performance.now(), signal);
    await untilSeen(signal);
  }
}
