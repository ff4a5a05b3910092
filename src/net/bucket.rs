//! A rate as a token bucket, told the time.

/// Lets `rate_per_s` events through a second, in bursts of at most a tenth of that (at least 16).
pub struct TokenBucket {
    rate_per_s: u64,
    burst: u64,
    /// In thousandths of a token.
    millitokens: u64,
    filled_ms: u64,
}

impl TokenBucket {
    /// A full bucket; `rate_per_s` 0 lets everything through.
    pub fn new(rate_per_s: u32, now_ms: u64) -> TokenBucket {
        let rate_per_s = u64::from(rate_per_s);
        let burst = (rate_per_s / 10).max(16);
        TokenBucket {
            rate_per_s,
            burst,
            millitokens: burst * 1000,
            filled_ms: now_ms,
        }
    }

    /// Whether there is a token to [`spend`](TokenBucket::spend).
    ///
    /// # Errors
    /// There is none: in how many milliseconds an eighth of a burst will be there. Waking for each
    /// single token would cost more than the events.
    pub fn check(&mut self, now_ms: u64) -> Result<(), u64> {
        if self.rate_per_s == 0 {
            return Ok(());
        }
        let passed_ms = now_ms.saturating_sub(self.filled_ms);
        self.filled_ms = self.filled_ms.max(now_ms);
        let gained = passed_ms.saturating_mul(self.rate_per_s);
        self.millitokens = self
            .millitokens
            .saturating_add(gained)
            .min(self.burst * 1000);
        if self.millitokens >= 1000 {
            return Ok(());
        }
        let missing = (self.burst * 1000 / 8).max(1000) - self.millitokens;
        Err(missing.div_ceil(self.rate_per_s))
    }

    /// Takes a token, after [`check`](TokenBucket::check) found one.
    pub fn spend(&mut self) {
        self.millitokens = self.millitokens.saturating_sub(1000);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn take(bucket: &mut TokenBucket, now_ms: u64) -> Result<(), u64> {
        bucket.check(now_ms)?;
        bucket.spend();
        Ok(())
    }

    #[test]
    fn lets_the_rate_through_and_no_more() {
        let mut bucket = TokenBucket::new(200, 0);
        let (mut now, mut through) = (0, 0);
        while now < 10_000 {
            match take(&mut bucket, now) {
                Ok(()) => through += 1,
                Err(wait_ms) => {
                    assert!(wait_ms > 0, "waiting helps");
                    now += wait_ms;
                }
            }
        }
        assert!(
            (2000..=2030).contains(&through),
            "{through} of 2000 and a burst"
        );
    }

    #[test]
    fn a_low_rate_waits_for_a_whole_token() {
        let mut bucket = TokenBucket::new(1, 0);
        for _ in 0..16 {
            take(&mut bucket, 0).unwrap();
        }
        let wait_ms = take(&mut bucket, 0).unwrap_err();
        assert!((1000..=2000).contains(&wait_ms));
        take(&mut bucket, wait_ms).unwrap();
    }

    #[test]
    fn no_rate_is_no_limit() {
        let mut bucket = TokenBucket::new(0, 0);
        assert!((0..100_000).all(|_| take(&mut bucket, 0).is_ok()));
    }
}
