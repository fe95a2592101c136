// The AWS SDK for JavaScript v2, driven line by line (lines.mjs).
import identity from "aws-sdk/clients/chimesdkidentity.js";
import messaging from "aws-sdk/clients/chimesdkmessaging.js";
import { answer, options } from "./lines.mjs";

const settings = { ...options, maxRetries: 0 };
const services = { identity: new identity(settings), messaging: new messaging(settings) };

await answer(async (service, operation, input) => {
  const method = operation[0].toLowerCase() + operation.slice(1);
  const output = await services[service][method](input).promise();
  return { status: output.$response.httpResponse.statusCode, output };
});
