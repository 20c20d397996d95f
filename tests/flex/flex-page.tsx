// Flex on a page of its own: the real Flex UI with a real manager and its own store, and in it the plugin, as Flex
// loads it; at #panel, in place of the plugin, the panel in Flex's CRM container. Only who is signed in, and the
// tasks, are made up, for those come from Twilio.

import '@plugin/index';
import { showPanel } from '@panel';
import * as Flex from '@twilio/flex-ui';
import React, { useState } from 'react';
import ReactDOM from 'react-dom';
import { Provider } from 'react-redux';
import { combineReducers, createStore } from 'redux';

const SIGN_IN = 'SIGN_IN';
const TASKS = 'TASKS';
const isLight = window.location.hash !== '#dark';
const hasPanel = window.location.hash === '#panel';

// Flex's state, but for what Twilio would put into it.
const reduce: any = (state: any, { type, payload, ...rest }: any) => {
  if (type === SIGN_IN) return { ...state, session: { ...state.session, ssoTokenPayload: payload } };
  if (type === TASKS) return { ...state, worker: { ...state.worker, tasks: payload } };
  return Flex.FlexReducer(state, { type, payload, ...rest });
};
const store: any = createStore(combineReducers({ flex: reduce }));
const manager: any = new (Flex.Manager as any)({}, store);
manager._initialized = true;
manager.strings = (Flex as any).languages.default;

// There is no call to accept; who listens to the action hears of it all the same.
Flex.Actions.replaceAction('AcceptTask', async () => undefined);

let show: (task: any) => void;

function Canvas() {
  const [task, setTask] = useState<any>();
  show = setTask;
  if (!task) return null;
  return (
    <Flex.TaskContext.Provider value={{ task, channelDefinition: Flex.TaskChannels.getForTask(task) }}>
      <div style={{ display: 'flex', height: '100%' }}>
        {hasPanel ? <Flex.CRMContainer /> : <Flex.TaskCanvasTabs />}
      </div>
    </Flex.TaskContext.Provider>
  );
}

// The shell wraps itself in what plugins give it here; there is no shell, so the canvas is wrapped in it.
let Paste: any = React.Fragment;
const setProviders = (given: any) => {
  const Given = given.PasteThemeProvider;
  Paste = ({ theme, children }: any) => (
    <Given baseTheme={isLight ? 'default' : 'dark'} theme={theme.tokens} style={{ minWidth: '100%', height: '100%' }}>
      {children}
    </Given>
  );
};
const Shell: any = Flex.withTheme((({ theme }: any) => <Paste theme={theme}><Canvas /></Paste>) as any);

if (hasPanel) showPanel(Flex, manager);
else new (window as any).Plugin().init({ ...Flex, setProviders }, manager);

Object.assign(window, {
  desk: {
    signIn: (token: string, accountSid: string) => store.dispatch({
      type: SIGN_IN,
      payload: { token, accountSid, identity: 'zoe', roles: ['agent'], permissions: {} },
    }),
    has: (...tasks: any[]) => store.dispatch({ type: TASKS, payload: new Map(tasks.map((task) => [task.sid, task])) }),
    show: (task: any) => ReactDOM.unstable_batchedUpdates(() => show(task)),
    showPanel: (stub: any) => showPanel(stub, manager),
    accept: (payload: any) => Flex.Actions.invokeAction('AcceptTask', payload),
    state: () => JSON.stringify(store.getState()),
  },
});

ReactDOM.render(
  <Provider store={store}>
    <Flex.StorelessThemeProvider themeConf={{ isLight }} style={{ height: '100%' }}>
      <Shell />
    </Flex.StorelessThemeProvider>
  </Provider>,
  document.getElementById('flex'),
);
