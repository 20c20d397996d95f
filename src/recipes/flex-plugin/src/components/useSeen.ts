import type { RefObject } from 'react';
import { useEffect } from 'react';

const LOOK_EVERY_MS = 100;

/**
 * Calls once the element can be seen. To be mounted is not enough: Flex keeps the tabs that are not selected
 * mounted, and hides them by a style of its own, of which no event tells.
 */
export function useSeen(element: RefObject<Element>, seen: () => void): void {
  useEffect(() => {
    const look = () => {
      if (!element.current || !canBeSeen(element.current)) return;
      clearInterval(timer);
      seen();
    };
    const timer = setInterval(look, LOOK_EVERY_MS);
    look();
    return () => clearInterval(timer);
  }, [element, seen]);
}

function canBeSeen(element: Element): boolean {
  if (document.visibilityState !== 'visible' || element.getClientRects().length === 0) return false;
  return getComputedStyle(element).visibility === 'visible';
}
