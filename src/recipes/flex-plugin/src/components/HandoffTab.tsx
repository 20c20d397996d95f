import { Badge } from '@twilio-paste/core/badge';
import { Box } from '@twilio-paste/core/box';
import { Button } from '@twilio-paste/core/button';
import { CalloutText } from '@twilio-paste/core/callout';
import { ScreenReaderOnly } from '@twilio-paste/core/screen-reader-only';
import { SkeletonLoader } from '@twilio-paste/core/skeleton-loader';
import type { ITask } from '@twilio/flex-ui';
import { withTaskContext } from '@twilio/flex-ui';
import React, { useCallback, useEffect, useState } from 'react';

import type { Baton, View } from '../baton';
import type { Known } from '../follow';
import { follow } from '../follow';
import type { Receipts } from '../receipts';
import { areOfOthers, customerNumber, handoffId } from '../task';
import { Say } from './CopyButton';
import { Handoff } from './Handoff';
import { Notice } from './Notice';
import { Trouble } from './Trouble';

interface Services {
  baton: Baton;
  receipts: Receipts;
}

type Props = Services & { id: string; task: ITask };

/** The tab: what is known of the handoff of the task that is selected. */
export const HandoffTab = withTaskContext(({ task, ...services }: Services & { task?: ITask }) => {
  const id = handoffId(task);
  if (!task || !id) return null;
  // Another task is another tab: nothing of the one before is left.
  return <OneTask key={`${id} ${task.taskSid}`} id={id} task={task} {...services} />;
});

function OneTask({ baton, receipts, id, task }: Props): JSX.Element {
  const [start, setStart] = useState<Known>({ is: 'looking' });
  const [known, setKnown] = useState(start);
  const [said, say] = useState('');

  useEffect(() => {
    const aborting = new AbortController();
    setKnown(start);
    void follow(baton, id, start, setKnown, aborting.signal);
    return () => aborting.abort();
  }, [baton, id, start]);

  const { is, view, problem, hasGivenUp, isLate, isUpdated } = known;
  const isThere = view !== undefined;
  useEffect(() => {
    if (isThere) void receipts.isThere(id);
  }, [receipts, id, isThere]);
  const news = newsOf(known);
  useEffect(() => say(news), [news]);

  const onSeen = useCallback(() => void receipts.rendered(id, task.taskSid), [receipts, id, task.taskSid]);
  const tryAgain = () => setStart({ is: view ? 'there' : 'looking', view, isLate, isUpdated });

  return (
    <Say.Provider value={say}>
      <Box
        as="section"
        aria-label="Handoff"
        data-baton={is}
        display="flex"
        flexDirection="column"
        rowGap="space60"
        padding="space60"
        width="100%"
        overflowY="auto"
        color="colorText"
        backgroundColor="colorBackgroundBody"
        fontFamily="fontFamilyText"
        fontSize="fontSize30"
        lineHeight="lineHeight40"
      >
        <Box role="status" position="absolute">
          <ScreenReaderOnly>{said}</ScreenReaderOnly>
        </Box>
        {problem && (
          <Trouble problem={problem} isTryingAgain={is !== 'refused' && !hasGivenUp} onTryAgain={tryAgain} />
        )}
        {!problem && <Absent is={is} />}
        {(isLate || isUpdated) && (
          <Box>
            <Badge as="span" variant="new">
              {news}
            </Badge>
          </Box>
        )}
        {view && <OfCaller key={view.caller.phone} view={view} task={task} onSeen={onSeen} />}
      </Box>
    </Say.Provider>
  );
}

function newsOf({ is, view, isLate, isUpdated }: Known): string {
  if (is === 'none') return 'No handoff for this call so far';
  if (!view) return '';
  const at = new Date(view.written_at).toLocaleTimeString();
  if (isUpdated) return `Updated at ${at}`;
  return isLate ? `Arrived at ${at}, after you opened this task` : 'The handoff is here';
}

/** What is said when there is no handoff to show. */
function Absent({ is }: { is: Known['is'] }): JSX.Element | null {
  switch (is) {
    case 'looking':
      return (
        <Box aria-busy display="flex" flexDirection="column" rowGap="space40">
          <Box color="colorTextWeak">Looking for the handoff of this call…</Box>
          <SkeletonLoader width="45%" />
          <SkeletonLoader />
          <SkeletonLoader width="80%" />
        </Box>
      );
    case 'none':
      return (
        <Notice variant="neutral" title="No handoff for this call so far">
          <CalloutText>The voice agent has written nothing. If it still does, it appears here by itself.</CalloutText>
        </Notice>
      );
    case 'expired':
      return (
        <Notice variant="neutral" title="The handoff of this call has expired">
          <CalloutText>Baton keeps handoffs for a limited time only.</CalloutText>
        </Notice>
      );
    case 'erased':
      return (
        <Notice variant="neutral" title="The handoff of this call was erased">
          <CalloutText>Somebody asked for its deletion. It cannot be shown any more.</CalloutText>
        </Notice>
      );
    default:
      return null;
  }
}

interface OfCallerProps {
  view: View;
  task: ITask;
  onSeen: () => void;
}

/** The handoff; but where it speaks of another caller than the task does, not before the agent wants it. */
function OfCaller({ view, task, onSeen }: OfCallerProps): JSX.Element {
  const [isWanted, setWanted] = useState(false);
  const number = customerNumber(task);
  if (isWanted || !areOfOthers(view.caller.phone, number)) return <Handoff view={view} onSeen={onSeen} />;
  return (
    <Notice variant="warning" title="This handoff may be of another caller">
      <CalloutText>
        {'It names '}
        <bdi>{view.caller.phone}</bdi>
        {', but this task is of '}
        <bdi>{number}</bdi>
        {'. Ask who is calling before you use or say any of it.'}
      </CalloutText>
      <Box>
        <Button variant="secondary" size="small" onClick={() => setWanted(true)}>
          Show anyway
        </Button>
      </Box>
    </Notice>
  );
}
