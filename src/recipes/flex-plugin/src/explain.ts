import type { Problem } from './baton';
import { BATON_URL } from './config';

interface Explanation {
  title: string;
  text: string;
}

/** What is wrong, for the agent, and what an administrator can do about it. */
export function explain({ status, code, message }: Problem): Explanation {
  switch (code) {
    case 'NOT_REACHED':
      // The browser tells a page no more than this of either.
      return navigator.onLine
        ? {
            title: 'Baton gives no answer',
            text:
              `Baton does not allow this page: add ${window.location.origin} to BATON_CORS_ORIGINS, ` +
              `or Baton is not reachable at ${BATON_URL}.`,
          }
        : { title: 'You are offline', text: 'This computer has no network.' };
    case 'NOT_BATON':
      return {
        title: 'Something else answers in the place of Baton',
        text: `${BATON_URL} answered ${status}, but not as Baton does. Check the address in src/config.ts.`,
      };
    case 'ROLE_NOT_ALLOWED':
      return {
        title: 'Your role may not read handoffs',
        text: 'An administrator can add one of your Flex roles to BATON_FLEX_ROLES.',
      };
    case 'ACCOUNT_NOT_LINKED':
      return {
        title: 'Baton does not know this Twilio account',
        text: 'An administrator can link a connector to it: baton connector link.',
      };
    case 'TOKEN_EXPIRED':
    case 'INVALID_TOKEN':
    case 'MISSING_CREDENTIALS':
      return { title: 'Baton does not accept your sign-in', text: 'Reload Flex, or sign in again.' };
    case 'RATE_LIMITED':
    case 'TOO_MANY_MISSES':
      return { title: 'Baton is asked too often', text: message };
    default:
      return { title: status >= 500 ? 'Baton has trouble' : 'Baton refuses this', text: message };
  }
}
