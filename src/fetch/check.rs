//! Where a download is held against what is known of its file: by the head of its answer,
//! while it comes, and before it gets its name.

use std::path::PathBuf;

use reqwest::header::{self, HeaderName};

use super::client::Answer;
use super::digests::{DigestFields, served};
use super::expect::{essence, judge_size, judge_type};
use super::failure::{Failure, FailureKind};
use super::plan::without_password;
use super::report::End;
use super::resume::Pin;
use super::verify::{Verification, Verified};
use super::worker::{Finish, Worker};

impl Worker<'_> {
    /// Looks at an answer that brings a file, or the rest of one, before its body is taken.
    ///
    /// # Switching
    /// May switch: what is there of the file may have to be read.
    pub(crate) fn begin_check(&mut self, answer: &Answer, is_rest: bool) -> Result<(), Failure> {
        let verify = &self.run.settings.verify;
        let kind = answer.text(header::CONTENT_TYPE);
        self.facts.content_type = kind.map(essence).filter(|kind| !kind.is_empty());
        judge_type(&verify.types, kind)?;
        let kept = self.part.as_ref().map_or(0, |part| part.length());
        let total = match answer.text(header::CONTENT_ENCODING) {
            None => answer
                .fields()
                .content_length
                .map(|rest| kept.saturating_add(rest)),
            Some(_) => None,
        };
        judge_size(verify.size_min, total)?;
        let served = match verify.digest_fields {
            true => answer.digest(is_rest),
            false => None,
        };
        if self.verification.is_none() {
            self.verification = self.first_check(Some(answer), served.is_some())?;
        }
        let Some(verification) = &mut self.verification else {
            return Ok(());
        };
        match is_rest {
            true => verification.go_on(served),
            false => verification.restart(served),
        }
        match &self.part {
            Some(part) if kept > 0 => part.catch_up(verification, kept),
            _ => Ok(()),
        }
    }

    /// Looks at the answer that a split file begins with, or at a file whose rest is asked
    /// for in segments. Their bytes are read back when all are there.
    pub(crate) fn begin_split_check(&mut self, answer: Option<&Answer>) -> Result<(), Failure> {
        match answer {
            Some(answer) => self.begin_check(answer, false),
            None if self.verification.is_none() => {
                self.verification = self.first_check(None, false)?;
                Ok(())
            }
            None => Ok(()),
        }
    }

    /// What there is to compute; `None` for nothing.
    fn first_check(
        &mut self,
        answer: Option<&Answer>,
        is_served: bool,
    ) -> Result<Option<Box<Verification>>, Failure> {
        let verify = &self.run.settings.verify;
        // The name is only for lists.
        let name = match verify.has_lists() {
            true => self.place(answer)?.path(),
            false => PathBuf::new(),
        };
        let given = verify.checksums(self.entry, &name);
        if given.is_empty() {
            if verify.strict {
                return Err(Failure::new(FailureKind::Checksum, "it has no checksum"));
            }
            if !verify.lists.is_empty() {
                log::warn!("{}: no list has its checksum", without_password(self.url));
            }
        }
        self.facts.given.clone_from(&given);
        let is_needed = is_served || !given.is_empty() || !verify.hashes.is_empty();
        Ok(is_needed.then(|| Box::new(Verification::new(given, &verify.hashes))))
    }

    /// Compares, when all bytes are in the part. What is wrong never gets a name: the part
    /// is emptied, and the next attempt begins at zero.
    ///
    /// # Switching
    /// May switch: what did not come in order is read back.
    pub(crate) fn checked(&mut self, finish: Finish) -> Result<Finish, Failure> {
        let mut part = match finish {
            Finish::Whole(part) => Some(part),
            Finish::Ended(End::Saved) => None,
            ended => return Ok(ended),
        };
        let length = self.facts.bytes;
        let size_min = self.run.settings.verify.size_min;
        let judged = judge_size(size_min, Some(length)).and_then(|()| {
            let Some(verification) = &mut self.verification else {
                return Ok(Verified::default());
            };
            match &part {
                Some(part) if !verification.has_all(length) => {
                    part.catch_up(verification, length)?;
                }
                _ => {}
            }
            verification.finish()
        });
        match judged {
            Ok(Verified {
                checksums,
                verified,
            }) => {
                (self.facts.checksums, self.facts.verified) = (checksums, verified);
                Ok(part.map_or(Finish::Ended(End::Saved), Finish::Whole))
            }
            Err(failure) => {
                let is_wrong = matches!(
                    failure.kind(),
                    FailureKind::Checksum | FailureKind::BadResponse
                );
                if let (true, Some(part)) = (is_wrong, &mut part) {
                    part.restart(self.url, Pin::default())?;
                }
                self.part = part;
                Err(match failure.kind() {
                    FailureKind::Checksum => failure.transient(),
                    _ => failure,
                })
            }
        }
    }
}

impl Answer {
    /// What the server says that the whole file hashes to.
    fn digest(&self, is_part: bool) -> Option<super::checksum::Checksum> {
        let field = |name| self.joined(HeaderName::from_static(name));
        let fields = [
            field("repr-digest"),
            field("content-digest"),
            field("digest"),
            field("content-md5"),
        ];
        if fields.iter().all(Option::is_none) {
            return None;
        }
        let [repr_digest, content_digest, digest, content_md5] = &fields;
        let encoding = self.joined(header::CONTENT_ENCODING);
        served(&DigestFields {
            repr_digest: repr_digest.as_deref(),
            content_digest: content_digest.as_deref(),
            digest: digest.as_deref(),
            content_md5: content_md5.as_deref(),
            encoding: encoding.as_deref(),
            is_part,
        })
    }
}
