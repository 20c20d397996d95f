import { CustomizationProvider } from '@twilio-paste/core/customization';
import { FlexPlugin } from '@twilio/flex-plugin';
import type * as Flex from '@twilio/flex-ui';
import React from 'react';

import { Baton } from './baton';
import { HandoffTab } from './components/HandoffTab';
import { TAB_ORDER } from './config';
import { Receipts } from './receipts';
import { handoffId } from './task';

const TAB = 'baton-handoff';

export default class HandoffPlugin extends FlexPlugin {
  constructor() {
    super('HandoffPlugin');
  }

  init(flex: typeof Flex, manager: Flex.Manager): void {
    const baton = new Baton(manager);
    const receipts = new Receipts(baton);

    flex.setProviders({ PasteThemeProvider: CustomizationProvider });
    flex.TaskCanvasTabs.Content.add(
      <flex.Tab key={TAB} uniqueName={TAB} label="Handoff">
        <HandoffTab baton={baton} receipts={receipts} />
      </flex.Tab>,
      { sortOrder: TAB_ORDER, if: ({ task }) => handoffId(task) !== undefined },
    );

    // Also when nobody ever looks at the tab.
    flex.Actions.addListener('afterAcceptTask', ({ task: given, sid }) => {
      const task: Flex.ITask | undefined = given ?? flex.TaskHelper.getTaskByTaskSid(sid);
      const id = handoffId(task);
      if (task && id && flex.TaskHelper.isCallTask(task)) void receipts.accepted(id, task.taskSid);
    });
  }
}
