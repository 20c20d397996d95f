import { Box } from '@twilio-paste/core/box';
import { Button } from '@twilio-paste/core/button';
import { CalloutText } from '@twilio-paste/core/callout';
import React from 'react';

import type { Problem } from '../baton';
import { explain } from '../explain';
import { CopyButton } from './CopyButton';
import { Notice } from './Notice';
import { Text } from './Text';

interface Props {
  problem: Problem;
  isTryingAgain: boolean;
  onTryAgain: () => void;
}

/** What is wrong, what to do, and under which id Baton's own log has it. */
export function Trouble({ problem, isTryingAgain, onTryAgain }: Props): JSX.Element {
  const { title, text } = explain(problem);
  const { code, errorId } = problem;
  return (
    <Notice variant={isTryingAgain ? 'warning' : 'error'} title={title}>
      <CalloutText>
        <Text of={text} />
      </CalloutText>
      <Box fontSize="fontSize20" lineHeight="lineHeight30">
        <Text of={code} />
        {errorId && (
          <Box display="flex" columnGap="space20">
            <Text of={`Error id ${errorId}`} />
            <CopyButton name="error id" text={errorId} />
          </Box>
        )}
      </Box>
      {isTryingAgain ? (
        <CalloutText>Trying again…</CalloutText>
      ) : (
        <Box>
          <Button variant="secondary" size="small" onClick={onTryAgain}>
            Try again
          </Button>
        </Box>
      )}
    </Notice>
  );
}
