import { Button } from '@twilio-paste/core/button';
import { CheckmarkCircleIcon } from '@twilio-paste/icons/esm/CheckmarkCircleIcon';
import { CopyIcon } from '@twilio-paste/icons/esm/CopyIcon';
import { ErrorIcon } from '@twilio-paste/icons/esm/ErrorIcon';
import React, { createContext, useContext, useEffect, useState } from 'react';

/** Says something to who does not see the screen. */
export const Say = createContext<(text: string) => void>(() => undefined);

const SHOWN_MS = 2000;

interface Props {
  /** Of what, such as `phone number`. */
  name: string;
  text: string;
}

export function CopyButton({ name, text }: Props): JSX.Element {
  const [done, setDone] = useState<'' | 'Copied' | 'Not copied'>('');
  const say = useContext(Say);

  useEffect(() => {
    if (!done) return undefined;
    say(`${done}: ${name}`);
    const timer = setTimeout(() => setDone(''), SHOWN_MS);
    return () => clearTimeout(timer);
  }, [done, name, say]);

  async function copy() {
    try {
      await navigator.clipboard.writeText(text);
      setDone('Copied');
    } catch {
      setDone('Not copied');
    }
  }

  const Icon = { '': CopyIcon, Copied: CheckmarkCircleIcon, 'Not copied': ErrorIcon }[done];
  return (
    <Button variant="secondary_icon" size="reset" onClick={copy}>
      <Icon decorative={false} title={done ? `${done}: ${name}` : `Copy ${name}`} size="sizeIcon20" />
    </Button>
  );
}
