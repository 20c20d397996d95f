//! [`UnderWay`]: what Twilio is being asked at this moment, and for whom. Whoever holds one token, or makes
//! many connectors, must not keep Twilio, and this server, from answering others.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::PoisonError;

use crate::service::error::ConnectorError;

/// How many questions there are, by what is counted.
#[derive(Clone, Debug, Default)]
pub(super) struct UnderWay(Arc<Mutex<HashMap<String, usize>>>);

/// Leave to ask, until it is dropped.
#[derive(Debug)]
pub(super) struct Turn {
    under_way: UnderWay,
    counted: String,
}

/// All that one question is counted by.
pub(super) type Turns = Vec<Turn>;

impl UnderWay {
    /// One more of `counted`, if there are fewer than `most`.
    pub(super) fn begin(&self, counted: String, most: usize) -> Result<Turn, ConnectorError> {
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let count = counts.entry(counted.clone()).or_default();
        if *count >= most {
            return Err(ConnectorError::UnderWay);
        }
        *count += 1;
        drop(counts);
        Ok(Turn { under_way: self.clone(), counted })
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        let mut counts = self.under_way.0.lock().unwrap_or_else(PoisonError::into_inner);
        let left = counts.get(&self.counted).map_or(0, |count| count.saturating_sub(1));
        if left == 0 {
            counts.remove(&self.counted);
        } else {
            counts.insert(self.counted.clone(), left);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn so_many_at_once_and_none_is_left_behind() {
        let under_way = UnderWay::default();
        let turn = || under_way.begin("a".to_owned(), 2);
        let (first, second) = (turn().unwrap(), turn().unwrap());
        assert!(turn().is_err() && under_way.begin("b".to_owned(), 1).is_ok());
        drop(first);
        drop((turn().unwrap(), second));
        assert!(under_way.0.lock().unwrap().is_empty());
    }
}
