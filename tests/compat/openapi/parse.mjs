// Validates a document with swagger-parser, as swagger-cli does.
//
//     node parse.mjs DOCUMENT

import SwaggerParser from "@apidevtools/swagger-parser";

await SwaggerParser.validate(process.argv[2]);
