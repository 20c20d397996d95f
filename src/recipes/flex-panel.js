// Shows Baton's panel beside the task that is selected in Flex, without an interface of your own. Call it in the
// `init` of a Flex plugin, or where you start a Flex that you host:
//
//   import { showPanel } from './flex-panel';
//   showPanel(flex, manager);
//
// The panel reads with the agent's own Flex token, which this hands to it and to nobody else. Baton must be linked
// to the Twilio account, and pages that are not on https://flex.twilio.com must be in its BATON_FRAME_ANCESTORS.

const BATON_URL = 'BATON_PUBLIC_URL_HERE';
const BATON_ORIGIN = new URL(BATON_URL).origin;

export function showPanel(flex, manager) {
  const { defaultProps } = flex.CRMContainer;
  const before = defaultProps.uriCallback;
  defaultProps.uriCallback = (task) => {
    const id = handoffId(task);
    return id ? `${BATON_URL}/panel?id=${encodeURIComponent(id)}` : before?.(task);
  };

  window.addEventListener('message', ({ origin, source, data }) => {
    if (origin !== BATON_ORIGIN || data?.type !== 'baton:ask' || !data.id) return;
    const { flex: state } = manager.store.getState();
    // Only for a task of this agent, or whoever gets a frame of Baton's in here could ask for any.
    const task = [...state.worker.tasks.values()].find((one) => handoffId(one) === data.id);
    if (!task) return;
    // Afresh each time: Flex renews the token.
    const session = state.session.ssoTokenPayload;
    source.postMessage({
      type: 'baton:token',
      token: session?.token ?? manager.user.token,
      account_sid: session?.accountSid ?? manager.serviceConfiguration.account_sid,
      task_sid: task.taskSid,
      caller: customerNumber(task),
    }, BATON_ORIGIN);
  });
}

// Under which id Baton knows the task's handoff. The task of an outbound call has no `call_sid`: there it is the
// customer's leg of the conference.
function handoffId(task) {
  const { call_sid: call, conference, handoff_id: id } = task?.attributes ?? {};
  return [call, conference?.participants?.customer, id].find((one) => typeof one === 'string' && one !== '');
}

// Who called, or who was called: the panel warns when the handoff is of somebody else.
function customerNumber({ attributes }) {
  const { direction, from, caller, outbound_to: outboundTo, to } = attributes;
  return direction === 'outbound' ? outboundTo ?? to : from ?? caller;
}
