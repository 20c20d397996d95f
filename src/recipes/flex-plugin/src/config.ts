/** Where Baton is, as its BATON_PUBLIC_URL says. */
export const BATON_URL = 'BATON_PUBLIC_URL_HERE';

/**
 * Where the tab stands among the others. -1: in front, so the handoff is on the screen while the call still
 * rings; "Incoming" is the tab behind it, and the task list has its own Accept. 1.5: behind "Incoming" and in
 * front of "Call". 10: behind all of them.
 */
export const TAB_ORDER = -1;
