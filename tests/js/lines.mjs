// Answers calls: a line of standard input is one, {"service", "operation", "input"}; a line of standard output is
// its answer, {"status", "output"}, or {"error": {"code", "message", "status"}} as the SDK tells it.
import readline from "node:readline";

export const options = {
  endpoint: process.argv[2],
  region: process.env.AWS_REGION,
  credentials: {
    accessKeyId: process.env.AWS_ACCESS_KEY_ID,
    secretAccessKey: process.env.AWS_SECRET_ACCESS_KEY,
  },
};

export async function answer(call) {
  for await (const line of readline.createInterface({ input: process.stdin })) {
    const { service, operation, input } = JSON.parse(line);
    const told = await call(service, operation, input).catch((error) => ({ error: describe(error) }));
    process.stdout.write(`${JSON.stringify(told)}\n`);
  }
}

function describe(error) {
  return {
    code: error.code ?? error.name,
    message: error.message,
    status: error.statusCode ?? error.$metadata?.httpStatusCode,
  };
}
