//! Streaming configurations of an app instance: what goes to Kinesis.
//!
//! No stream is reached from here, so none is ever configured: a request that is in order is
//! refused as the service refuses one whose stream it cannot write to. Nothing is kept.

use store::Txn;
use wire::messaging::{
    DeleteMessagingStreamingConfigurations, DeleteMessagingStreamingConfigurationsRequest,
    GetMessagingStreamingConfigurations, GetMessagingStreamingConfigurationsRequest,
    GetMessagingStreamingConfigurationsResponse, PutMessagingStreamingConfigurations,
    PutMessagingStreamingConfigurationsRequest, PutMessagingStreamingConfigurationsResponse,
    StreamingConfiguration,
};

use crate::Chat;
use crate::cx::Cx;
use crate::dispatch::{Handle, Reply};
use crate::error::{Error, Result};
use crate::identity::app_instance;

/// What the name of a stream has to begin with (developer guide, streaming messaging data).
const STREAM_NAME_PREFIX: &str = "chime-messaging-";

/// Returns the name of the stream that `arn` names, if it is one that could be written to.
fn stream_name<'a>(cx: &Cx, arn: &'a str) -> Option<&'a str> {
    let place = format!("arn:aws:kinesis:{}:{}:stream/", cx.place.region, cx.place.account);
    arn.strip_prefix(&place).filter(|name| is_stream_name(name))
}

/// Whether the text is a name of a Kinesis stream with the prefix that is asked for.
fn is_stream_name(text: &str) -> bool {
    let is_letter = |b: u8| b.is_ascii_alphanumeric() || b"_.-".contains(&b);
    text.starts_with(STREAM_NAME_PREFIX) && text.len() <= 128 && text.bytes().all(is_letter)
}

/// Returns the name of the first stream.
///
/// # Errors
/// BadRequest for a kind of data that is given twice, and for what is not such a stream.
fn checked<'a>(cx: &Cx, configurations: &'a [StreamingConfiguration]) -> Result<&'a str> {
    if let [first, second, ..] = configurations
        && first.data_type == second.data_type
    {
        return Err(Error::bad_request("A DataType is given more than once"));
    }
    let mut names = configurations.iter().map(|one| stream_name(cx, &one.resource_arn));
    let is_whole = names.clone().all(|name| name.is_some());
    names.next().flatten().filter(|_| is_whole).ok_or_else(|| {
        Error::bad_request(format!(
            "The ResourceArn is not one of a Kinesis stream of this account and region whose name \
             starts with {STREAM_NAME_PREFIX}"
        ))
    })
}

impl Handle<PutMessagingStreamingConfigurations> for Chat {
    async fn handle(
        cx: &Cx,
        tx: &mut Txn,
        input: &PutMessagingStreamingConfigurationsRequest,
    ) -> Result<Reply<PutMessagingStreamingConfigurationsResponse>> {
        app_instance::require(cx, tx, &input.app_instance_arn).await?;
        let name = checked(cx, &input.streaming_configurations)?;
        // A refusal ends the request, so this does not run twice.
        cx.place.unserved.stream_refused();
        Err(Error::bad_request(format!("Unable to access Kinesis stream {name}")))
    }
}

impl Handle<GetMessagingStreamingConfigurations> for Chat {
    async fn handle(
        cx: &Cx,
        tx: &mut Txn,
        input: &GetMessagingStreamingConfigurationsRequest,
    ) -> Result<Reply<GetMessagingStreamingConfigurationsResponse>> {
        app_instance::require(cx, tx, &input.app_instance_arn).await?;
        // The model knows no empty list of them.
        Err(Error::not_found("streaming configuration"))
    }
}

impl Handle<DeleteMessagingStreamingConfigurations> for Chat {
    async fn handle(
        cx: &Cx,
        tx: &mut Txn,
        input: &DeleteMessagingStreamingConfigurationsRequest,
    ) -> Result<Reply<()>> {
        app_instance::require(cx, tx, &input.app_instance_arn).await?;
        Ok(Reply::Ready(()))
    }
}

#[cfg(test)]
mod tests;
