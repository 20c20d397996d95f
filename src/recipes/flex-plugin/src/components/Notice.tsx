import { Box } from '@twilio-paste/core/box';
import { Callout, CalloutHeading } from '@twilio-paste/core/callout';
import React from 'react';

interface Props {
  variant: 'neutral' | 'warning' | 'error';
  title: string;
  children: React.ReactNode;
}

/** What an agent should know before all else. */
export function Notice({ variant, title, children }: Props): JSX.Element {
  return (
    <Callout variant={variant}>
      <CalloutHeading as="h3">
        <Box as="span" fontWeight="fontWeightSemibold">
          {title}
        </Box>
      </CalloutHeading>
      {children}
    </Callout>
  );
}
