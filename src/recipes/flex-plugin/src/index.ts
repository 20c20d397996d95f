import { loadPlugin } from '@twilio/flex-plugin';

import HandoffPlugin from './HandoffPlugin';

loadPlugin(HandoffPlugin);
