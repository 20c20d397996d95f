import { Box } from '@twilio-paste/core/box';
import React from 'react';

/** What an agent wrote: in any language, so in its own direction, and of any length. */
export function Text({ of: text }: { of: string }): JSX.Element {
  return (
    <Box as="span" display="block" dir="auto" whiteSpace="pre-wrap" wordBreak="break-word">
      {text}
    </Box>
  );
}
