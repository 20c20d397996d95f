// Flex on this machine (`npm start`) reads it. Deployed plugins do not.
var appConfig = {
  pluginService: { enabled: true, url: '/plugins' },
  ytica: false,
  logLevel: 'info',
};
