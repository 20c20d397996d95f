import { Badge } from '@twilio-paste/core/badge';
import { Box } from '@twilio-paste/core/box';
import { CalloutText } from '@twilio-paste/core/callout';
import { Heading } from '@twilio-paste/core/heading';
import { Paragraph } from '@twilio-paste/core/paragraph';
import React, { useRef } from 'react';

import type { View } from '../baton';
import { CopyButton } from './CopyButton';
import { Fields } from './Fields';
import { Notice } from './Notice';
import { Text } from './Text';
import { useSeen } from './useSeen';

const VERIFIED = {
  true: { variant: 'success', text: 'Verified' },
  false: { variant: 'warning', text: 'Not verified' },
  unknown: { variant: 'neutral', text: 'Not known whether verified' },
} as const;

interface Props {
  view: View;
  /** It is on the screen. */
  onSeen: () => void;
}

/** A handoff: who calls, why, what was tried, and then all that the agent wrote. */
export function Handoff({ view, onSeen }: Props): JSX.Element {
  const top = useRef<HTMLDivElement>(null);
  useSeen(top, onSeen);
  const { tried, fields, fields_left_out: leftOut } = view;
  return (
    <Box ref={top} display="flex" flexDirection="column" rowGap="space60">
      <Caller view={view} />
      {view.status === 'failed' && (
        <Notice variant="warning" title="The voice agent failed in this call">
          <CalloutText>What it learnt may be incomplete.</CalloutText>
        </Notice>
      )}
      <Why view={view} />
      {tried.length > 0 && (
        <Section title="Already tried">
          <Box as="ol" margin="space0" padding="space0">
            {tried.map((step, place) => (
              <Box as="li" key={place} display="flex" columnGap="space30" lineHeight="lineHeight40">
                <Box as="span" color="colorTextWeak">{`${place + 1}.`}</Box>
                <Text of={step} />
              </Box>
            ))}
          </Box>
        </Section>
      )}
      <Section title="Everything the agent wrote">
        {fields.length > 0 ? <Fields fields={fields} /> : <Weak>Nothing.</Weak>}
        {leftOut > 0 && <Weak>{`${leftOut} more are not shown.`}</Weak>}
      </Section>
      <Origin view={view} />
    </Box>
  );
}

function Caller({ view }: { view: View }): JSX.Element {
  const { name, phone, verified } = view.caller;
  const { variant, text } = VERIFIED[verified] ?? VERIFIED.unknown;
  return (
    <Box>
      <Box display="flex" flexWrap="wrap" alignItems="center" columnGap="space40" rowGap="space20">
        <Heading as="h2" variant="heading30" marginBottom="space0">
          <Text of={name || phone || 'Unknown caller'} />
        </Heading>
        <Badge as="span" variant={variant}>
          {text}
        </Badge>
        {view.client_env && view.client_env !== 'live' && (
          <Badge as="span" variant="decorative20">
            {view.client_env}
          </Badge>
        )}
        {view.status === 'contained' && (
          <Badge as="span" variant="decorative10">
            Settled by the agent
          </Badge>
        )}
      </Box>
      {phone && (
        <Box display="flex" alignItems="center" columnGap="space20" marginTop="space20">
          <Box as="span" fontSize="fontSize40" color="colorTextWeak">
            <Text of={phone} />
          </Box>
          <CopyButton name="phone number" text={phone} />
        </Box>
      )}
    </Box>
  );
}

function Why({ view }: { view: View }): JSX.Element | null {
  const { reason, summary, destination, priority, language } = view.why;
  const facts = [
    ['Destination', destination],
    ['Priority', priority > 0 ? String(priority) : ''],
    ['Language', language],
  ].filter(([, value]) => value !== '');
  if (!reason && !summary && facts.length === 0) return null;
  return (
    <Box backgroundColor="colorBackground" borderRadius="borderRadius30" padding="space60">
      <Section title="Why they call">
        {reason && (
          <Box fontSize="fontSize40" fontWeight="fontWeightSemibold" lineHeight="lineHeight40">
            <Text of={reason} />
          </Box>
        )}
        {summary && (
          <Box display="flex" columnGap="space20" alignItems="flex-start" marginTop="space20">
            <Box flexGrow={1} minWidth="size0" lineHeight="lineHeight40">
              <Text of={summary} />
            </Box>
            <CopyButton name="summary" text={summary} />
          </Box>
        )}
        {facts.length > 0 && (
          <Box
            as="dl"
            margin="space0"
            marginTop="space40"
            display="flex"
            flexWrap="wrap"
            columnGap="space70"
            rowGap="space20"
          >
            {facts.map(([name, value]) => (
              <Box key={name} display="flex" columnGap="space20" fontSize="fontSize30">
                <Box as="dt" color="colorTextWeak">
                  {name}
                </Box>
                <Box as="dd" margin="space0" fontWeight="fontWeightMedium">
                  <Text of={value} />
                </Box>
              </Box>
            ))}
          </Box>
        )}
      </Section>
    </Box>
  );
}

function Origin({ view }: { view: View }): JSX.Element {
  const at = new Date(view.written_at).toLocaleString(undefined, { dateStyle: 'medium', timeStyle: 'medium' });
  return (
    <Box display="flex" alignItems="center" columnGap="space20" color="colorTextWeak" fontSize="fontSize20">
      <Box as="span" wordBreak="break-word">
        {`Written ${at} · ${view.id}`}
      </Box>
      <CopyButton name="handoff id" text={view.id} />
    </Box>
  );
}

function Section({ title, children }: { title: string; children: React.ReactNode }): JSX.Element {
  return (
    <Box as="section">
      <Box marginBottom="space30">
        <Heading as="h3" variant="heading60" marginBottom="space0">
          <Box as="span" color="colorTextWeak">
            {title}
          </Box>
        </Heading>
      </Box>
      {children}
    </Box>
  );
}

function Weak({ children }: { children: React.ReactNode }): JSX.Element {
  return <Paragraph marginBottom="space0">{children}</Paragraph>;
}
