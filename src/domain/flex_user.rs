//! [`FlexUser`]: somebody at work in Flex, as Twilio told who they are.

use crate::domain::account::AccountId;
use crate::domain::account::ProjectId;
use crate::domain::account_sid::AccountSid;
use crate::domain::connector::Connector;
use crate::domain::connector::environment::ClientEnv;
use crate::domain::handoff::Heading;
use crate::domain::timeline::Worker;

/// A Flex user, and what the connectors that their Twilio account is linked to open for them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FlexUser {
    /// The Twilio account.
    pub account_sid: AccountSid,
    /// Who they are.
    pub worker: Worker,
    /// What is open.
    pub lines: Vec<Line>,
}

/// What a linked connector opens: handoffs of its project and environment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// Whose.
    pub account: AccountId,
    /// Of which project.
    pub project: ProjectId,
    /// Of which environment.
    pub environment: ClientEnv,
}

impl Line {
    /// What a connector opens.
    pub fn of(connector: &Connector) -> Self {
        Self {
            account: connector.account.clone(),
            project: connector.project.clone(),
            environment: connector.client_env,
        }
    }

    /// Whether a handoff is of it. One that was written without a connector is of no environment, and so of
    /// all.
    pub fn holds(&self, heading: &Heading) -> bool {
        self.account == heading.account
            && self.project == heading.project
            && heading.client_env.is_none_or(|environment| environment == self.environment)
    }
}

impl FlexUser {
    /// Whether a handoff is of one of the lines.
    pub fn reaches(&self, heading: &Heading) -> bool {
        self.lines.iter().any(|line| line.holds(heading))
    }

    /// Whether what is of this account, project and environment is open; what is not said may be any.
    pub fn opens(
        &self,
        account: &AccountId,
        project: Option<&ProjectId>,
        environment: Option<ClientEnv>,
    ) -> bool {
        self.lines.iter().any(|line| {
            line.account == *account
                && project.is_none_or(|project| line.project == *project)
                && environment.is_none_or(|environment| line.environment == environment)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_stands_in_one_line_is_open() {
        let line = |account: &str, project: &str, environment| Line {
            account: account.parse().unwrap(),
            project: project.parse().unwrap(),
            environment,
        };
        let user = FlexUser {
            account_sid: "AC0123456789abcdef0123456789abcdef".parse().unwrap(),
            worker: Worker::default(),
            lines: vec![line("a", "p", ClientEnv::Live), line("b", "q", ClientEnv::Sandbox)],
        };
        let opens = |account: &str, project: &str, environment| {
            user.opens(&account.parse().unwrap(), Some(&project.parse().unwrap()), environment)
        };
        assert!(opens("a", "p", Some(ClientEnv::Live)) && opens("a", "p", None));
        assert!(!opens("a", "p", Some(ClientEnv::Sandbox)));
        assert!(!opens("a", "q", None) && !opens("b", "p", None));
        assert!(!opens("a", "q", Some(ClientEnv::Sandbox)));
    }
}
