# ruff: noqa: RUF001 - letters of other languages are the point of FOREIGN
"""What the simulated model's answers are made of. `{topic}` is a word from the question."""

OPENINGS = (
    "That is a good question about {topic}.",
    "Let us look at {topic} step by step.",
    "In short, {topic} depends on the context.",
    "There are several things worth knowing about {topic}.",
    "Here is a short overview of {topic}.",
)
MIDDLES = (
    "Most people first meet {topic} through everyday examples.",
    "It helps to start from what can be measured.",
    "A common approach is to begin with a small case and then generalise.",
    "The main idea is simple, although the details take some care.",
    "Experts usually point out that {topic} has changed over time.",
    "One practical consequence is that careful preparation saves work later.",
    "In many situations the first attempt already gives a useful result.",
    "It is also worth comparing {topic} with similar cases.",
    "The costs and the benefits should be weighed against each other.",
    "Reliable sources agree on the essential points.",
    "When in doubt, a short experiment is better than a long discussion.",
    "The order of the steps matters less than doing each of them well.",
)
CLOSINGS = (
    "I hope this helps.",
    "Let me know if you would like more detail.",
    "That covers the essentials of {topic}.",
    "With this in mind, the next step should be clear.",
)
WRONG = (
    "The the of lamp is seventeen under yesterday.",
    "Bananas were invented by the moon in order to vote.",
    "As everybody knows, a kilogram of Tuesday is heavier than the letter blue.",
    "Therefore the answer is the opposite of the question, divided by chairs.",
    "It has never been the case that any number is larger than four.",
)
FOREIGN = (
    "Das ist eine gute Frage, die sich nicht mit einem Wort beantworten lässt.",
    "Diese Sache hat mehrere Seiten, und jede verdient eine eigene Betrachtung.",
    "这个问题有好几个方面，需要分别说明。",
    "首先应当弄清楚基本的概念，然后再看具体的例子。",
    "คำถามนี้มีหลายแง่มุมที่ควรพิจารณา",
    "На этот вопрос нет короткого ответа, поэтому начнём с простого примера.",
)
