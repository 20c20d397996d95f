import type { Baton, Problem } from './baton';
import { passes } from './baton';

const NEVER = new AbortController().signal;

const mayComeYet = (problem: Problem) => passes(problem) || problem.code === 'HANDOFF_NOT_FOUND';

/** Tells Baton what becomes of handoffs, once each. Quietly: that it fails is nothing to an agent. */
export class Receipts {
  private readonly told = new Set<string>();

  // By handoff the task that was accepted before there was one.
  private readonly owed = new Map<string, string>();

  constructor(private readonly baton: Baton) {}

  /** It stands on the screen. */
  async rendered(id: string, taskSid: string): Promise<void> {
    const name = `${id} ${taskSid}`;
    if (this.told.has(name)) return;
    this.told.add(name);
    const answer = await this.baton.receipt(id, 'rendered', taskSid, { signal: NEVER });
    if ('problem' in answer) this.told.delete(name);
  }

  /** The agent took the task. */
  async accepted(id: string, taskSid: string): Promise<void> {
    this.owed.delete(id);
    const ask = { signal: NEVER, isWorthRetrying: mayComeYet };
    const answer = await this.baton.receipt(id, 'accepted', taskSid, ask);
    if ('problem' in answer) this.owed.set(id, taskSid);
  }

  /** There is a handoff. */
  async isThere(id: string): Promise<void> {
    const taskSid = this.owed.get(id);
    if (taskSid) await this.accepted(id, taskSid);
  }
}
