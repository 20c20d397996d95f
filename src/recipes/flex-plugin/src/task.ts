// What a task says of its call. Attributes come from flows, so any of them may be anything.

import type { ITask } from '@twilio/flex-ui';

type Task = Pick<ITask, 'attributes' | 'taskSid'>;

const isText = (value: unknown): value is string => typeof value === 'string' && value !== '';

/**
 * Under which id Baton knows the task's handoff. The task of an outbound call has no `call_sid`: there it is the
 * customer's leg of the conference.
 */
export function handoffId(task?: Task): string | undefined {
  const { call_sid: call, conference, handoff_id: id } = task?.attributes ?? {};
  return [call, conference?.participants?.customer, id].find(isText);
}

/** The customer's number: who called, or who was called. */
export function customerNumber(task: Task): string {
  const { direction, from, caller, outbound_to: outboundTo, to } = task.attributes ?? {};
  const numbers = direction === 'outbound' ? [outboundTo, to] : [from, caller];
  return numbers.find((number) => digits(number) !== '') ?? '';
}

/** Whether the two are numbers, and not the same one: a number may be written with or without its country. */
export function areOfOthers(one: string, other: string): boolean {
  const [a, b] = [digits(one), digits(other)];
  return a !== '' && b !== '' && !a.endsWith(b) && !b.endsWith(a);
}

// Without what is not always written: +, 00, (0) and a leading 0. Nothing, when the text is no number.
function digits(text: unknown): string {
  if (!isText(text) || /[a-z@:]/i.test(text)) return '';
  const all = text.replace('(0)', '').replace(/\D/g, '').replace(/^0+/, '');
  return all.length < 7 ? '' : all;
}
