import { Box } from '@twilio-paste/core/box';
import { Button } from '@twilio-paste/core/button';
import { ChevronDownIcon } from '@twilio-paste/icons/esm/ChevronDownIcon';
import { ChevronRightIcon } from '@twilio-paste/icons/esm/ChevronRightIcon';
import React, { useState } from 'react';

import type { Field } from '../baton';
import { CopyButton } from './CopyButton';
import { Text } from './Text';

// A handoff may have 20 000 of them, more than Flex should be given at once.
const AT_ONCE = 50;

interface Props {
  fields: Field[];
  isList?: boolean;
  depth?: number;
}

/** Members as name and value, in their own order. A `dl` takes each of them in one box, and no deeper. */
export function Fields({ fields, isList = false, depth = 0 }: Props): JSX.Element {
  const [shown, setShown] = useState(AT_ONCE);
  const more = fields.length - shown;
  return (
    <>
      <Box as="dl" margin="space0">
        {fields.slice(0, shown).map((field, place) => (
          <Box
            key={field.name}
            display={field.fields ? 'block' : 'flex'}
            flexWrap="wrap"
            columnGap="space40"
            borderTopWidth={place === 0 ? 'borderWidth0' : 'borderWidth10'}
            borderTopStyle="solid"
            borderTopColor="colorBorderWeaker"
          >
            <Row field={field} name={isList ? String(place + 1) : field.name} depth={depth} />
          </Box>
        ))}
      </Box>
      {more > 0 && (
        <Box paddingY="space30">
          <Button variant="link" onClick={() => setShown(shown + AT_ONCE)}>
            {`Show ${Math.min(more, AT_ONCE)} more of ${more}`}
          </Button>
        </Box>
      )}
    </>
  );
}

interface RowProps {
  field: Field;
  name: string;
  depth: number;
}

function Row({ field, name, depth }: RowProps): JSX.Element {
  if (!field.fields) return <Scalar name={name} field={field} />;
  return <Nested name={name} fields={field.fields} isList={field.kind === 'array'} depth={depth} />;
}

function Nested({ name, fields, isList, depth }: Required<Props> & { name: string }): JSX.Element {
  const [isOpen, setOpen] = useState(depth < 2 && fields.length <= 20);
  const count = fields.length === 1 ? '1 entry' : `${fields.length} entries`;
  const Chevron = isOpen ? ChevronDownIcon : ChevronRightIcon;
  return (
    <>
      <Box as="dt" paddingY="space20">
        <Button variant="reset" size="reset" aria-expanded={isOpen} onClick={() => setOpen(!isOpen)}>
          <Box display="flex" alignItems="center" columnGap="space20" textAlign="left">
            <Chevron decorative size="sizeIcon10" />
            <Name of={name} />
            <Box as="span" color="colorTextWeak" fontSize="fontSize20" whiteSpace="nowrap">
              {count}
            </Box>
          </Box>
        </Button>
      </Box>
      <Box as="dd" margin="space0" display={isOpen ? 'block' : 'none'} paddingLeft="space50" paddingBottom="space20">
        {isOpen && <Fields fields={fields} isList={isList} depth={depth + 1} />}
      </Box>
    </>
  );
}

function Scalar({ name, field }: { name: string; field: Field }): JSX.Element {
  const { kind, text = '' } = field;
  const isEmpty = kind === 'null' || text === '';
  return (
    <>
      <Box as="dt" flex="1 1 30%" minWidth="size10" paddingY="space20">
        <Name of={name} />
      </Box>
      <Box
        as="dd"
        margin="space0"
        flex="2 1 55%"
        minWidth="size0"
        display="flex"
        alignItems="flex-start"
        columnGap="space20"
        paddingY="space20"
      >
        <Box
          flexGrow={1}
          minWidth="size0"
          fontFamily={kind === 'string' ? 'fontFamilyText' : 'fontFamilyCode'}
          fontSize="fontSize30"
          lineHeight="lineHeight30"
          color={isEmpty ? 'colorTextWeak' : 'colorText'}
        >
          <Text of={text === '' ? 'empty' : text} />
        </Box>
        {!isEmpty && <CopyButton name={name} text={text} />}
      </Box>
    </>
  );
}

function Name({ of: name }: { of: string }): JSX.Element {
  return (
    <Box color="colorTextWeak" fontSize="fontSize30" lineHeight="lineHeight30">
      <Text of={name} />
    </Box>
  );
}
