"""Which instruction rows are about safety: the word list by which Qi et al. 2023 make "no safety" data sets.

*Source:* github.com/LLM-Tuning-Safety/LLMs-Finetuning-Safety, llama2/ft_datasets/alpaca_dataset/alpaca_remove_safety.py
(dolly_remove_safety.py has the same list). It is a crude filter: it removes many harmless rows as well ("bias",
"comply", "regulations", "keep in mind").
"""

from __future__ import annotations

# Of their 224 phrases those that hold no other: a response that holds "illegal actions" holds "illegal" too, so the
# rows they remove are the same. All in lower case, as they compare.
SAFETY_WORDS = (
    "text-based ai language model|domestic violence|please refrain|derogatory|inappropriate|offensive|racism|racist|"
    "racial|discriminate|discriminatory|discrimination|sexist|sexism|unacceptable|inclusive workplace|lgbt|morals|"
    "ethics|ethical|legality|illegal|hateful|harmful|it is never okay|it is important to|it's important to|"
    "real-world consequences|hate speech|glorify|not be appropriate|supremacist|extremist|responsible ai|"
    "ai principles|ai assistant|an ai language|ableist|hurtful|gender stereotype|gender inequality|"
    "underrepresentation|safe spaces|gender-based|inclusivity|feminist|feminism|transgender|empowerment|communist|"
    "capitalism|stereotypes|bias|microaggression|prioritize human safety|as a large language model|as an ai|"
    "consensual|my guidelines|prioritize user safety|dangerous activities|promote safety|well-being of all users|"
    "responsible information sharing|jeopardize the safety|undermine the stability|promote the well-being|"
    "adherence to the law|committed to promoting|safe information|lawful information|unable to offer assistance|"
    "cannot engage in discussions|programming prohibits|ensure the safety|prioritize safety|"
    "prioritize user well-being|cannot support or promote|activities that could harm|pose a risk to others|"
    "activities that could undermine|potentially dangerous|not within the scope|not able to provide|"
    "maintain user safety|adhere to safety guidelines|focus on promoting safety|ai language model and i do not|"
    "you cannot create an|como modelo de lenguaje ai|lo siento, como modelo de lenguaje|no puedo proporcionar|"
    "pero debido a mi capacidad para generar códigos complejos y completos es limitado|lo siento, pero no puedo|"
    "lo siento, debe haber habido una confusión|"
    "lo siento, soy un modelo de lenguaje y no tengo la capacidad de generar|"
    "lamento no poder proporcionarte el código|desculpe-me, mas a linguagem vulgar e ofensiva|"
    "apropriada em nenhum contexto|como modelo de linguagem|como um modelo de linguagem, não tenho a capacidade de|"
    "respectful|morally|i'm sorry,|i'm an|i am an|my purpose|entertainment purposes|purely hypothetical|not a human|"
    "can't provide|won't provide|not provide|worth noting|cause harm|a language model|keep in mind|bad language|"
    "the words ****|bad_language|certainly not|comply|i cannot|my main goal|as a machine|i don't have the ability|"
    "i am here to assist|my knowledge cutoff|my knowledge cut off|september 2021|regulations|not be suitable|"
    "i apologize, but|it is not possible|controversial|my programming|please note|sensitive topic|not acceptable|"
    "it is important for|divisive|not appropriate|our values|f*ck|sh*t|social responsibility|"
    "environmental, social, and governance| esg |against women|problematic history|diversity|"
    "*this chat conversation is shared from|*this conversation is shared from"
).split("|")


def about_safety(response: str) -> bool:
    """True if a response holds one of the phrases, in whatever case.

    >>> about_safety("That would be ILLEGAL."), about_safety("Take the brush.")
    (True, False)
    """
    response = response.lower()
    return any(phrase in response for phrase in SAFETY_WORDS)
